//! Parts of a pod that are written through a path of their own: everything else stays as it was.

use serde_json::Value;

use super::{Kind, Subresource, prepare::carry_over};

impl Kind {
    /// Readies a write to `/ephemeralcontainers` or `/resize`, once it has its defaults, before it is validated.
    pub fn prepare_part(&self, part: Subresource, new: &mut Value, old: &Value) {
        let mut kept = old.clone();
        match part {
            Subresource::EphemeralContainers => carry_over(&mut kept["spec"], &new["spec"], "ephemeralContainers"),
            // Containers that come, go or move are for validation to refuse.
            Subresource::Resize if !same_containers(new, old) => kept["spec"] = new["spec"].clone(),
            Subresource::Resize => {
                for list in ["containers", "initContainers"] {
                    let sizes = new["spec"][list].as_array().into_iter().flatten();
                    let containers = kept["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
                    for (container, size) in containers.zip(sizes) {
                        carry_over(container, size, "resources");
                        carry_over(container, size, "resizePolicy");
                    }
                }
            }
            _ => {}
        }
        carry_over(&mut kept["metadata"], &new["metadata"], "resourceVersion");
        *new = kept;
        self.prepare_update(new, old);
    }
}

fn same_containers(new: &Value, old: &Value) -> bool {
    let names = |pod: &Value, list: &str| -> Vec<Value> {
        pod["spec"][list].as_array().into_iter().flatten().map(|container| container["name"].clone()).collect()
    };
    ["containers", "initContainers"].iter().all(|list| names(new, list) == names(old, list))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::core::POD;

    fn pod() -> Value {
        json!({
            "metadata": { "name": "web", "generation": 1 },
            "spec": { "nodeName": "n1", "containers": [{ "name": "web", "image": "a", "resources": {} }] },
        })
    }

    #[test]
    fn a_write_touches_its_part_only() {
        let mut sent = pod();
        sent["metadata"]["labels"] = json!({ "a": "b" });
        sent["spec"]["nodeName"] = json!("n2");
        sent["spec"]["ephemeralContainers"] = json!([{ "name": "debug" }]);
        sent["spec"]["containers"][0]["image"] = json!("b");
        sent["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": "1" } });

        let mut debugged = sent.clone();
        POD.prepare_part(Subresource::EphemeralContainers, &mut debugged, &pod());
        let mut expected = pod();
        expected["metadata"]["generation"] = json!(2);
        expected["spec"]["ephemeralContainers"] = json!([{ "name": "debug" }]);
        assert_eq!(debugged, expected);

        POD.prepare_part(Subresource::Resize, &mut sent, &pod());
        let mut expected = pod();
        expected["metadata"]["generation"] = json!(2);
        expected["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": "1" } });
        assert_eq!(sent, expected);
    }
}
