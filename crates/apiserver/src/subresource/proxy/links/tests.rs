//! Pages, whole and in pieces.

use super::*;

/// The page as it comes out, whichever pieces it comes in.
fn passed(page: &str) -> String {
    let passed = |size: usize| {
        let own = Own { prefix: "/P".to_owned(), host: "10.0.0.2:80".to_owned(), asked: "localhost:1".to_owned() };
        let mut links = Links::new(own);
        let mut out: Vec<u8> = page.as_bytes().chunks(size).flat_map(|piece| links.pass(piece)).collect();
        assert!(links.held.len() < ATTRIBUTE_BYTES);
        out.extend(links.end());
        String::from_utf8(out).unwrap()
    };
    let whole = passed(page.len().max(1));
    for size in [1, 2, 3, 7] {
        assert_eq!(passed(size), whole, "in pieces of {size}");
    }
    whole
}

#[test]
fn links_are_led() {
    for (page, led) in [
        (r#"<a href="/rewriteme">test</a>"#, r#"<a href="/P/rewriteme">test</a>"#),
        ("<A\n HREF = '/x?a=1&amp;b=2' class=\"/y\">", "<A\n HREF = '/P/x?a=1&amp;b=2' class=\"/y\">"),
        ("<a href=/x>", "<a href=/P/x>"),
        ("<a href=/>", "<a href=/P/>"),
        ("<img alt=/a src=\"/x\"/><p>", "<img alt=/a src=\"/P/x\"/><p>"),
        ("<form action=\"http://10.0.0.2:80/post\">", "<form action=\"/P/post\">"),
        ("<link href=//localhost:1/x>", "<link href=//localhost:1/P/x>"),
        ("<video poster='/a' src='/b'>", "<video poster='/P/a' src='/P/b'>"),
        ("<script src=\"/x.js\"></script><a href='/y'>", "<script src=\"/P/x.js\"></script><a href='/P/y'>"),
        ("<a/href='/x'>", "<a/href='/P/x'>"),
        ("<a download href='/x'>", "<a download href='/P/x'>"),
        ("< a <a href='/x'>", "< a <a href='/P/x'>"),
    ] {
        assert_eq!(passed(page), led);
    }
}

#[test]
fn all_else_is_as_it_was() {
    for page in [
        "",
        "a < b && c > d",
        "<a href='x/y'><a href='#z'><a href='https://example.org/x'><a href='/P/x'>",
        "<a hrefs='/x' data-href='/x'><b href='/x'><p title=\"<a href='/x'>\">",
        "<!-- <a href='/x'> --><!DOCTYPE html><![CDATA[ x ]]><?php '/x' ?></ a>",
        "<a href='/x",
        "<a =href='/x'>",
        "<a href=>/x</a>",
        "<a href = >",
        "</a href='/x'>",
    ] {
        assert_eq!(passed(page), page);
    }
}

#[test]
fn comments_end_where_they_end() {
    for (comment, ended) in [
        ("<!-->", true),
        ("<!--->", true),
        ("<!-- -->", true),
        ("<!-- --!>", true),
        ("<!-- ---->", true),
        ("<!-- ->", false),
        ("<!-- -- >", false),
        ("<!-- --! >", false),
        ("<!--!-", false),
        ("<!--!>", false),
        ("<!---!>", false),
        ("<!----!>", true),
        ("<!>", true),
        ("</>", true),
    ] {
        let led = if ended { "/P/x" } else { "/x" };
        assert_eq!(passed(&format!("{comment}<a href='/x'>")), format!("{comment}<a href='{led}'>"));
    }
}

#[test]
fn scripts_and_texts_hold_no_links() {
    for (page, ended) in [
        ("<script>'<a href=\"/y\">'</script>", true),
        ("<SCRIPT>1</scripts>2</Script >", true),
        ("<script><!-- <script>1</script> -->2</script>", true),
        ("<script><!-- <script>1</script>", false),
        ("<script><!-- 1</script>", true),
        ("<script><!--><script>1</script>", true),
        ("<title><a href='/y'></title>", true),
        ("<textarea></text>", false),
        ("<style>a::before { content: '</style' }</style>", true),
        ("<noscript><a href='/y'></noscript>", true),
        ("<plaintext></plaintext>", false),
    ] {
        let led = if ended { "/P/x" } else { "/x" };
        assert_eq!(passed(&format!("{page}<a href='/x'>")), format!("{page}<a href='{led}'>"));
    }
}

#[test]
fn what_is_long_is_copied() {
    let long = "/x".repeat(ATTRIBUTE_BYTES);
    for page in [
        format!("<img src='{long}>' alt='/x'>"),
        format!("<img src={long} alt='/x'>"),
        format!("<img {long}{long}='/x'>"),
        format!("<{}>", "x".repeat(3 * ATTRIBUTE_BYTES)),
        format!("<p class='a' {}>", " ".repeat(3 * ATTRIBUTE_BYTES)),
    ] {
        let led = passed(&format!("{page}<a href='/x'>"));
        assert_eq!(led, format!("{page}<a href='/P/x'>"));
    }
}
