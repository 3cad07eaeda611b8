//! Lists, read page by page and past every cache.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::Client;
use serde::{Deserialize, de::DeserializeOwned};

use crate::api::{self, Error};

/// Objects read at once: a page of the largest pods fits into an answer.
const PAGE: usize = 200;

/// A page of a list.
#[derive(Deserialize)]
pub(crate) struct Page<T> {
    #[serde(default)]
    pub(crate) metadata: ListMeta,
    #[serde(default = "Vec::new")]
    pub(crate) items: Vec<T>,
}

impl<T> Page<T> {
    /// What to add to the query for the next page, if there is one.
    pub(crate) fn next(&self) -> Option<String> {
        self.metadata.continue_.as_deref().filter(|token| !token.is_empty()).map(|token| format!("&continue={token}"))
    }
}

/// Every object of the collection at a path, as the store has them.
pub(crate) async fn all<T: DeserializeOwned>(client: &Client, path: &str) -> Result<Vec<T>, Error> {
    let mut objects = Vec::new();
    let mut token = Some(String::new());
    while let Some(next) = token {
        let page: Page<T> = api::get(client, &format!("{path}?limit={PAGE}{next}"), "application/json").await?;
        token = page.next();
        objects.extend(page.items);
    }
    Ok(objects)
}
