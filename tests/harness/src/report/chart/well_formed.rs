//! Checks in tests that a text is well-formed XML, as far as our charts use it. Pure.

/// Returns the first mistake: tags that do not match, attributes without quotes, `<`, `&` or control characters in
/// text.
pub(crate) fn check(xml: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find('<') {
        text(&rest[..at])?;
        let end = rest[at..].find('>').ok_or_else(|| format!("a tag without end: {}", &rest[at..]))? + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let was = open.pop().ok_or_else(|| format!("</{name}> without a start"))?;
            if was != name {
                return Err(format!("<{was}> ends as </{name}>"));
            }
            continue;
        }
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(format!("no name of a tag: {name:?}"));
        }
        self::attributes(attributes)?;
        if !is_empty {
            open.push(name);
        }
    }
    text(rest)?;
    open.pop().map_or(Ok(()), |name| Err(format!("<{name}> has no end")))
}

fn attributes(mut rest: &str) -> Result<(), String> {
    let mut names = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").ok_or_else(|| format!("no attribute: {rest:?}"))?;
        let (value, after) = after.split_once('"').ok_or_else(|| format!("{name} has no closing quote"))?;
        if names.contains(&name) || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(format!("{name:?} is no attribute, or stands twice"));
        }
        names.push(name);
        text(value)?;
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    Ok(())
}

fn text(text: &str) -> Result<(), String> {
    if let Some(bad) = text.chars().find(|c| c.is_control() && *c != '\n') {
        return Err(format!("the character {bad:?} in {text:?}"));
    }
    for (at, _) in text.match_indices('&') {
        if !["&amp;", "&lt;", "&gt;", "&quot;"].iter().any(|entity| text[at..].starts_with(entity)) {
            return Err(format!("a bare & in {text:?}"));
        }
    }
    Ok(())
}

#[test]
fn malformed_markup_is_found() {
    assert_eq!(check("<a><b c=\"d\" e=\"f\"/>&amp;</a>"), Ok(()));
    for wrong in ["<a>", "</a>", "<a></b>", "<a b=c/>", "<a b=\"c/>", "<a b=\"1\" b=\"2\"/>", "a & b", "<a", "\u{1}"] {
        assert!(check(wrong).is_err(), "{wrong}");
    }
}
