//! Rules of the addresses of Services as objects of their own, and of the ranges that they are from.

use serde_json::json;

use super::address;
use super::equal::same;
use super::errors::Errors;
use super::field::Field;
use super::format;

const IMMUTABLE: &str = "field is immutable";

pub(super) fn ip_address(address: &Field<'_>, errors: &mut Errors) {
    let parent = address.get("spec").get("parentRef");
    if !parent.is_set() {
        return errors.required(&parent, "");
    }
    // The core group, which Services are in, has an empty name.
    errors.optional_format(&parent.get("group"), format::dns1123_subdomain);
    errors.required_format(&parent.get("resource"), format::path_segment);
    errors.required_format(&parent.get("name"), format::path_segment);
    errors.optional_format(&parent.get("namespace"), format::path_segment);
}

pub(super) fn ip_address_update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    ip_address(new, errors);
    let [after, before] = [new, old].map(|address| address.get("spec").get("parentRef"));
    if !same(after.value(), before.value()) {
        let [group, resource, namespace, name] = ["group", "resource", "namespace", "name"].map(|field| after.get(field).text());
        let shown = json!({ "Group": group, "Resource": resource, "Namespace": namespace, "Name": name });
        errors.invalid_as(after.path(), if after.is_set() { shown } else { "null".into() }, IMMUTABLE);
    }
}

pub(super) fn service_cidr(range: &Field<'_>, errors: &mut Errors) {
    let cidrs = range.get("spec").get("cidrs");
    let texts: Vec<&str> = cidrs.items().map(|cidr| cidr.text()).collect();
    let shown = json!({ "CIDRs": cidrs.value() });
    match *texts {
        [] => errors.required(&cidrs, "at least one CIDR required"),
        [_] => each(&cidrs, errors),
        [one, other] => {
            if [one, other].iter().all(|text| address::parse_cidr(text).is_some()) && address::is_dual_stack([one, other]) {
                return each(&cidrs, errors);
            }
            let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
            errors.invalid_as(cidrs.path(), shown, detail);
        }
        _ => errors.invalid_as(cidrs.path(), shown, "may only hold up to 2 values"),
    }
}

fn each(cidrs: &Field<'_>, errors: &mut Errors) {
    cidrs.items().for_each(|cidr| errors.format(&cidr, address::canonical_cidr));
}

pub(super) fn service_cidr_update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let [after, before] = [new, old].map(|range| range.get("spec").get("cidrs"));
    if !same(after.value(), before.value()) {
        errors.invalid(&after, IMMUTABLE);
    }
}
