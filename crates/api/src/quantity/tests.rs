//! Fixed cases from upstream's documentation, and laws that hold for all quantities.

use proptest::prelude::*;

use super::*;

fn check(text: &str, expected: &str) {
    assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
}

#[test]
fn canonical_forms() {
    for (text, expected) in [
        ("0", "0"),
        ("50k", "50k"),
        ("0.0005k", "500m"),
        ("0.5e-1", "50e-3"),
        ("1.3E+6", "1300e3"),
        ("100.035Ki", "102435840m"),
        ("0.025Ti", "27487790694400m"),
        ("3.001n", "4n"),
        ("0.00000012354", "124n"),
        ("0.000000000001Ki", "2n"),
        ("9223372036854775807Ki", "9223372036854775807"),
        ("1234567M", "1234567M"),
        ("1025024Mi", "1001Gi"),
        ("1000e-12", "1e-9"),
        ("0Mi", "0"),
        ("1000m", "1"),
        ("0.5", "500m"),
        ("100m", "100m"),
        ("1.5Gi", "1536Mi"),
        ("1024Ki", "1Mi"),
        ("1023", "1023"),
        ("1000", "1k"),
        ("1500", "1500"),
        ("100000", "100k"),
        ("12e6", "12e6"),
        ("1E3", "1e3"),
        ("1E", "1E"),
        ("512Ki", "512Ki"),
        ("0.5Ki", "512"),
        ("0.1Ki", "102400m"),
        ("1.0001Ki", "1024102400u"),
        ("-1500m", "-1500m"),
        ("-2Gi", "-2Gi"),
        ("+5", "5"),
        (".5", "500m"),
        ("5.", "5"),
        ("0.1n", "1n"),
        ("1e-12", "1e-9"),
        ("9Ei", "9223372036854775807"),
        ("100E", "9223372036854775807"),
        ("99999999999999999999999", "9223372036854775807"),
        ("0.0000000001", "1n"),
        ("1.000000000000000000000000000001", "1000000001n"),
        ("123456789123456789.123456789123456789", "123456789123456789123456790n"),
    ] {
        check(text, expected);
    }
}

#[test]
fn thousandths_are_the_finest_that_is_stored() {
    for (text, expected) in [("1500u", "2m"), ("-1500u", "-2m"), ("10Pi", "10Pi"), ("1.0001Ki", "1024103m"), ("1e-4", "1m")] {
        let quantity: Quantity = text.parse().expect("it is a quantity");
        assert_eq!(quantity.rounded_to_millis().to_string(), expected, "{text}");
    }
}

#[test]
fn what_is_no_quantity() {
    for (text, expected) in [
        ("", ParseError::Format),
        ("abc", ParseError::Format),
        ("1 Gi", ParseError::Format),
        ("--1", ParseError::Format),
        ("1K", ParseError::Suffix),
        ("1ki", ParseError::Suffix),
        ("1.5kM", ParseError::Suffix),
        ("1eX", ParseError::Format),
        ("1.2.3", ParseError::Number),
        (".", ParseError::Number),
        ("m", ParseError::Format),
        ("1kb", ParseError::Format),
        ("0x10", ParseError::Format),
        ("1e", ParseError::Suffix),
    ] {
        assert_eq!(canonical(text), Err(expected), "{text}");
    }
}

#[test]
fn rounding_is_up() {
    let quantity: Quantity = "1500u".parse().expect("it is a quantity");
    assert_eq!((quantity.millis(), quantity.units()), (2, 1));
    let quantity: Quantity = "-1500m".parse().expect("it is a quantity");
    assert_eq!((quantity.millis(), quantity.units()), (-1500, -2));
}

fn any_quantity() -> impl Strategy<Value = Quantity> {
    let formats = prop_oneof![Just(Format::DecimalSi), Just(Format::BinarySi), Just(Format::DecimalExponent)];
    (any::<i64>(), 0_u32..10, formats)
        .prop_map(|(amount, scale, format)| Quantity { nanos: i128::from(amount) * 10_i128.pow(scale), format })
}

proptest! {
    #[test]
    fn printed_and_parsed_it_is_the_same(quantity in any_quantity()) {
        let text = quantity.to_string();
        let again: Quantity = text.parse().expect("what we print is a quantity");
        prop_assert_eq!(again, quantity);
        prop_assert_eq!(again.to_string(), text);
    }

    #[test]
    fn parsing_never_panics(text in "[-+]?[0-9.]{0,60}[eEinumkKMGTP]{0,3}[-+]?[0-9]{0,12}") {
        if let Ok(quantity) = text.parse::<Quantity>() {
            prop_assert!(quantity.nanos.abs() <= MAX_NANOS);
        }
    }

    #[test]
    fn order_is_that_of_the_numbers(a in any::<i32>(), b in any::<i32>()) {
        let parse = |number: i32| format!("{number}m").parse::<Quantity>().expect("it is a quantity");
        prop_assert_eq!(parse(a).cmp(&parse(b)), a.cmp(&b));
        prop_assert_eq!((parse(a) + parse(b)).millis(), i64::from(a) + i64::from(b));
        prop_assert_eq!(parse(a) + parse(b) - parse(b), parse(a));
    }
}
