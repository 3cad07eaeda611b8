//! Selectors, by what they match and by what they say when they are none.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::json;

use super::*;
use crate::kind;

fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn what_matches() {
    for (selector, set, expected) in [
        ("", "a=1", true),
        ("a=1", "a=1,b=2", true),
        ("a==1", "a=2", false),
        ("a=1,b=2", "a=1,b=2", true),
        ("a=1,b=2", "a=1", false),
        ("a!=1", "b=2", true),
        ("a!=1", "a=1", false),
        ("a in (1, 2)", "a=2", true),
        ("a in (1,2)", "b=2", false),
        ("a notin (1,2)", "b=2", true),
        ("a notin (1,2)", "a=1", false),
        ("a", "a=", true),
        ("!a", "a=", false),
        ("!a", "", true),
        ("a=", "a=", true),
        ("a in ()", "a=", true),
        ("in=in", "in=in", true),
        ("a>5", "a=6", true),
        ("a>5", "a=x", false),
        ("a<5", "a=4", true),
        ("  a = 1 ,  b ", "a=1,b=", true),
    ] {
        let parsed = Selector::parse(selector).unwrap_or_else(|why| panic!("{selector}: {why}"));
        assert_eq!(parsed.matches(&labels(set)), expected, "{selector} on {set}");
    }
}

#[test]
fn printed_in_the_order_of_keys() {
    for (selector, expected) in [
        ("b=2,a=1", "a=1,b=2"),
        ("x in (c,a,b,a)", "x in (a,b,c)"),
        ("!x,y notin (a),z!=1", "!x,y notin (a),z!=1"),
        ("x==1", "x==1"),
        ("x in (,a)", "x in (,a)"),
        ("x= ,z= ", "x=,z="),
        ("x>1,z<5", "x>1,z<5"),
    ] {
        assert_eq!(Selector::parse(selector).map(|selector| selector.to_string()).as_deref(), Ok(expected));
    }
}

#[test]
fn errors_are_those_of_upstream() {
    for (selector, expected) in [
        ("a,", "found '', expected: identifier after ','"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("a=1 b=2", "found 'b', expected: ',' or 'end of string'"),
        ("a=(", "unable to parse requirement: found '(', expected: identifier"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in (b=", "unable to parse requirement: found '=', expected: ',' or ')'"),
        ("a x b", "unable to parse requirement: found 'x', expected: in, notin, =, ==, !=, gt, lt"),
        ("x==a==b", "found '==', expected: ',' or 'end of string'"),
        ("!x=a", "found '=', expected: ',' or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        (
            "-a=1",
            "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of alphanumeric characters, '-', '_' \
             or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used \
             for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ),
        (
            "a>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
    ] {
        assert_eq!(Selector::parse(selector).unwrap_err().to_string(), expected, "{selector}");
    }
}

#[test]
fn all_shapes_of_a_selector_agree() {
    let value = json!({
        "matchLabels": { "app": "web" },
        "matchExpressions": [
            { "key": "tier", "operator": "In", "values": ["b", "a"] },
            { "key": "old", "operator": "DoesNotExist" },
        ],
    });
    let typed: LabelSelector = serde_json::from_value(value.clone()).unwrap();
    let expected = "app=web,!old,tier in (a,b)";
    assert_eq!(Selector::from_value(&value).unwrap().to_string(), expected);
    assert_eq!(Selector::from_typed(Some(&typed)).unwrap().to_string(), expected);
    assert_eq!(format_label_selector(&value), expected);

    assert!(!Selector::from_value(&json!(null)).unwrap().matches(&labels("a=1")));
    assert!(Selector::from_value(&json!({})).unwrap().matches(&labels("a=1")));
    assert!(!Selector::from_typed(None).unwrap().matches(&labels("a=1")));
    assert_eq!(format_label_selector(&json!({})), "<none>");
    assert_eq!(format_labels(&json!({ "b": "2", "a": "1" })), "a=1,b=2");
    assert_eq!(format_labels(&json!(null)), "<none>");
}

#[test]
fn fields() {
    let pod = json!({
        "metadata": { "name": "web", "namespace": "default" },
        "spec": { "nodeName": "one" },
        "status": { "phase": "Running" },
    });
    for (selector, expected) in [
        ("", true),
        ("metadata.name=web", true),
        ("metadata.name!=web", false),
        ("metadata.namespace==default,status.phase!=Succeeded", true),
        ("spec.nodeName=", false),
        ("spec.hostNetwork=false", true),
        ("status.podIP=", true),
        ("metadata.name=a\\,b", false),
    ] {
        let parsed = FieldSelector::parse(&kind::core::POD, selector).unwrap();
        assert_eq!(parsed.matches(&pod), expected, "{selector}");
    }
    assert_eq!(FieldSelector::parse(&kind::core::POD, "metadata.name=web").unwrap().name(), Some("web"));
}

#[test]
fn field_errors_are_those_of_upstream() {
    for (kind, selector, expected) in [
        (&kind::core::POD, "spec.foo=1", "field label not supported: spec.foo"),
        (
            &kind::core::CONFIG_MAP,
            "data=1",
            "\"data\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        (&kind::core::POD, "foo", "invalid selector: 'foo'; can't understand 'foo'"),
        (&kind::core::POD, "metadata.name=a\\b", "invalid field selector: invalid escape sequence: \\b"),
    ] {
        assert_eq!(FieldSelector::parse(kind, selector).unwrap_err().to_string(), expected, "{selector}");
    }
}
