//! The line between a part and the API server: a tower service that delays, refuses, loses and cuts.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body};
use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream};
use http::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::sync::Notify;
use tower::{BoxError, Service};

use super::{Faults, WriteFate};
use crate::{
    actor::Actor,
    chance::Chance,
    ledger::Ledger,
    log::Log,
    witness::{Count, Witness},
};

/// How long a client waits for an answer that does not come.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes of the controllers after which a world is taken for one that never rests: a hundred times what worlds take.
const RESTLESS: u64 = 20_000;

/// What all connections of one part share, from its start to its death.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) actor: Actor,
    pub(crate) faults: Arc<Faults>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) log: Arc<Log>,
    pub(crate) chance: Chance,
    pub(crate) count: Arc<Count>,
    dead: AtomicBool,
    /// Told when the part has been killed.
    pub(crate) died: Notify,
}

/// The service that a `kube::Client` is mounted on.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    line: Arc<Line>,
    router: Router,
}

impl Line {
    pub(crate) fn new(
        actor: Actor,
        faults: &Arc<Faults>,
        ledger: &Arc<Ledger>,
        log: &Arc<Log>,
        count: &Arc<Count>,
        chance: Chance,
    ) -> Arc<Self> {
        Arc::new(Self {
            actor,
            faults: Arc::clone(faults),
            ledger: Arc::clone(ledger),
            log: Arc::clone(log),
            chance,
            count: Arc::clone(count),
            dead: AtomicBool::new(false),
            died: Notify::new(),
        })
    }

    /// A client whose requests go over this line.
    pub(crate) fn client(self: &Arc<Self>, router: Router) -> kube::Client {
        kube::Client::new(Link { line: Arc::clone(self), router }, "default")
    }

    /// Kills the part: nothing that it has sent, or sends yet, is done from now on.
    pub(crate) fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
        self.ledger.knowledge.forget();
        self.died.notify_one();
    }

    /// The dead wait for ever.
    async fn unless_dead(&self) {
        if self.dead.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    async fn takes_time(&self) {
        if !self.faults.is_calm() && self.actor != Actor::User {
            tokio::time::sleep(self.chance.up_to_ms(self.faults.weather.latency_ms)).await;
        }
        self.unless_dead().await;
    }

    fn fate(&self, method: &Method) -> WriteFate {
        match (self.actor, method) {
            (Actor::Controllers, &Method::GET) | (Actor::Node, _) => {
                let lost = !self.faults.is_calm() && self.chance.hits(self.faults.weather.losses);
                if lost { *self.chance.pick(&[WriteFate::LostBefore, WriteFate::LostAfter]) } else { WriteFate::Done }
            }
            (Actor::Controllers, _) => self.faults.fate(*method != Method::POST),
            _ => WriteFate::Done,
        }
    }
}

impl Service<Request<kube::client::Body>> for Link {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        Box::pin(self.clone().carry(request))
    }
}

impl Link {
    async fn carry(self, request: Request<kube::client::Body>) -> Result<Response<Body>, BoxError> {
        let line = Arc::clone(&self.line);
        line.unless_dead().await;
        let writes = line.actor == Actor::Controllers && request.method() != Method::GET;
        let _under_way = writes.then(|| line.ledger.knowledge.write());
        line.takes_time().await;
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let fate = line.fate(&method);
        if writes && line.faults.writes() == RESTLESS {
            line.ledger.accuse(format!("the controllers have written {RESTLESS} times, of late {method} {uri}, and never rest"));
        }
        if fate != WriteFate::Done {
            line.log.say(format_args!("{fate:?} {} {method} {uri}", line.actor));
        }
        match fate {
            WriteFate::Done => {
                let response = self.deliver(request).await?;
                if let Some(witness) = Witness::of(&uri, line.actor, Arc::clone(&line.ledger), Arc::clone(&line.count)) {
                    return Ok(response.map(|body| watched(body, witness, line)));
                }
                line.takes_time().await;
                Ok(response)
            }
            WriteFate::Refused(code, reason) => refusal(code, reason),
            WriteFate::LostBefore => lost().await,
            WriteFate::LostAfter => {
                self.deliver(request).await?;
                lost().await
            }
            WriteFate::DeathBefore => line.dies().await,
            WriteFate::DeathAfter => {
                self.deliver(request).await?;
                line.dies().await
            }
        }
    }

    async fn deliver(mut self, request: Request<kube::client::Body>) -> Result<Response<Body>, BoxError> {
        let answer: Pin<Box<_>> = Box::pin(self.router.call(request));
        Ok(self.line.actor.does(answer).await?)
    }
}

impl Line {
    async fn dies(&self) -> Result<Response<Body>, BoxError> {
        self.kill();
        std::future::pending().await
    }
}

async fn lost() -> Result<Response<Body>, BoxError> {
    tokio::time::sleep(PATIENCE).await;
    Err("the connection was lost".into())
}

fn refusal(code: u16, reason: &str) -> Result<Response<Body>, BoxError> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": reason, "code": code, "message": "refused by the weather"
    });
    let response = Response::builder().status(StatusCode::from_u16(code)?).header("content-type", "application/json");
    Ok(response.body(Body::from(status.to_string()))?)
}

/// The body of a watch, as the weather lets it through: late, and cut off at any byte.
fn watched(body: Body, witness: Witness, line: Arc<Line>) -> Body {
    let lag_ms = line.chance.up_to_ms(line.faults.weather.lag_ms);
    let state = (body.into_data_stream(), witness, line, false);
    let chunks = stream::unfold(state, move |(mut chunks, mut witness, line, cut)| async move {
        if cut {
            return None;
        }
        let chunk: Bytes = chunks.next().await?.ok()?;
        let (mut chunk, mut cut) = (chunk, false);
        if !line.faults.is_calm() {
            tokio::time::sleep(lag_ms).await;
            cut = line.chance.hits(line.faults.weather.cuts);
        }
        line.unless_dead().await;
        if cut {
            let most = chunk.len() as u64 + 1;
            chunk.truncate(usize::try_from(line.chance.below(most)).unwrap_or(0));
            line.log.say(format_args!("cuts a watch of {}", line.actor));
        }
        if let Err(violation) = witness.hear(&chunk) {
            line.ledger.accuse(violation);
        }
        Some((Ok::<_, std::convert::Infallible>(chunk), (chunks, witness, line, cut)))
    });
    Body::from_stream(chunks)
}
