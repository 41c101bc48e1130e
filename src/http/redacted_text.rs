//! Removes the queries of URLs from text, whatever the text is: JSON, JSON inside a string of JSON, or neither.
//!
//! Guaranteed: of every http and https URL, everything from the first `?` to the end of the URL is replaced; JSON stays
//! JSON; nothing else changes. The text is read as the characters that it means, so it does not matter which of them are
//! escaped, or how often.

/// What stands in the place of a query.
const REDACTED: &str = "?redacted";

/// A character that the text means, and where its escaped form begins and ends.
#[derive(Clone, Copy)]
struct Meant {
    letter: char,
    start: usize,
    end: usize,
}

/// `text` with `?redacted` in place of the query and the fragment of each http and https URL with a query.
#[must_use]
pub fn without_queries(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let (mut copied, mut at) = (0, 0);
    while let Some(first) = meant(text, at) {
        at = first.end;
        let Some(url) = is_letter(first, 'h').then(|| url(text, first.start)).flatten() else { continue };
        if let Some(query) = url.query {
            shown.push_str(&text[copied..query]);
            shown.push_str(REDACTED);
            copied = url.end;
        }
        at = url.end;
    }
    shown.push_str(&text[copied..]);
    shown
}

/// Where a URL ends, and where its query begins, if it has one.
struct FoundUrl {
    query: Option<usize>,
    end: usize,
}

/// The URL that begins at `start`, if one does.
fn url(text: &str, start: usize) -> Option<FoundUrl> {
    let mut at = start;
    for expected in "http".chars() {
        at = meant(text, at).filter(|it| is_letter(*it, expected))?.end;
    }
    at = meant(text, at).filter(|it| is_letter(*it, 's')).map_or(at, |it| it.end);
    for expected in "://".chars() {
        at = meant(text, at).filter(|it| is_letter(*it, expected))?.end;
    }
    let mut query = None;
    while let Some(next) = meant(text, at).filter(|it| !ends_url(it.letter)) {
        if next.letter == '?' {
            query.get_or_insert(next.start);
        }
        at = next.end;
    }
    Some(FoundUrl { query, end: at })
}

fn is_letter(meant: Meant, expected: char) -> bool {
    meant.letter.eq_ignore_ascii_case(&expected)
}

/// Characters that no URL contains: in one, they are percent-encoded.
const fn ends_url(letter: char) -> bool {
    letter.is_ascii_whitespace() || letter.is_ascii_control() || matches!(letter, '"' | '<' | '>')
}

/// The character at `start`, which may be escaped as in JSON, any number of times.
fn meant(text: &str, start: usize) -> Option<Meant> {
    let rest = &text[start..];
    let unescaped = rest.trim_start_matches('\\');
    let backslashes = rest.len() - unescaped.len();
    let Some(letter) = unescaped.chars().next() else {
        // Only backslashes are left, if anything.
        return (backslashes > 0).then_some(Meant { letter: '\\', start, end: text.len() });
    };
    let end = start + backslashes + letter.len_utf8();
    let code = unescaped.get(1..5).filter(|_| backslashes > 0 && letter == 'u');
    let code = code.filter(|code| code.bytes().all(|it| it.is_ascii_hexdigit()));
    if let Some(code) = code.and_then(|code| u32::from_str_radix(code, 16).ok()) {
        // Half of a pair is no character that matters here.
        return Some(Meant {
            letter: char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
            start,
            end: end + 4,
        });
    }
    let letter = match letter {
        'n' | 'r' | 't' | 'b' | 'f' if backslashes > 0 => ' ',
        letter => letter,
    };
    Some(Meant { letter, start, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_of_every_url_is_replaced_and_nothing_else_changes() {
        for (text, shown) in [
            ("", ""),
            ("no url? no", "no url? no"),
            ("http", "http"),
            ("https://h/p", "https://h/p"),
            ("https://h/p?hush", "https://h/p?redacted"),
            ("HTTPS://h/p?a=hush&b=hush#hush!", "HTTPS://h/p?redacted"),
            (r#"{"url":"https://h/p?hush","next":"a?b"}"#, r#"{"url":"https://h/p?redacted","next":"a?b"}"#),
            (r#"["http://h?hush","https://h?hush"]"#, r#"["http://h?redacted","https://h?redacted"]"#),
            (r#"{"url":"https:\/\/h\/p?hush\u0026hush"}"#, r#"{"url":"https:\/\/h\/p?redacted"}"#),
            (r#""\u0068ttps\u003a\u002F/h/p\u003fhush""#, r#""\u0068ttps\u003a\u002F/h/p?redacted""#),
            (r#""see https://h/p?hush and http://h""#, r#""see https://h/p?redacted and http://h""#),
            (r#""https://h/p?hush\nnext""#, r#""https://h/p?redacted\nnext""#),
            (r#""{\"url\":\"https://h/p?hush\",\"a\":1}""#, r#""{\"url\":\"https://h/p?redacted\",\"a\":1}""#),
            (r#""{\"url\":\"https:\\/\\/h?hush\"}""#, r#""{\"url\":\"https:\\/\\/h?redacted\"}""#),
            (r#""https\\u003a//h?hush""#, r#""https\\u003a//h?redacted""#),
            ("https://h/?to=https://other?hush", "https://h/?redacted"),
            ("hhttps://h?hush", "hhttps://h?redacted"),
            ("<a href='https://h?hush'>", "<a href='https://h?redacted>"),
            (r#"{"url":"https://h?hush"#, r#"{"url":"https://h?redacted"#),
            ("https://h?hush\\", "https://h?redacted"),
            ("é https://é/?é", "é https://é/?redacted"),
            (r"\u00", r"\u00"),
            (r"\ué", r"\ué"),
        ] {
            assert_eq!(without_queries(text), shown, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn json_stays_json_and_no_query_of_a_url_in_it_is_left(before in "\\PC*", query in "[a-zA-Z0-9&=%+./_-]{1,40}", after in "\\PC*") {
            let inner = serde_json::json!({ "before": before, "url": format!("https://h/p?q{query}secret"), "after": after });
            let nested = serde_json::json!({ "inner": inner.to_string(), "again": inner }).to_string();
            let shown = without_queries(&nested);
            proptest::prop_assert!(!shown.contains(&format!("q{query}secret")), "{shown}");
            proptest::prop_assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok(), "{shown}");
        }
    }
}
