//! Content negotiation: which of the media types that a route can send does the client prefer?

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// How well a client accepts a media type: its `q` in thousandths, then how specifically it is named.
type Preference = (u16, u8);

/// The media type of `offered` that the client prefers; of equals, the first. `None` if it accepts none of them. Without
/// `Accept`, everything is accepted.
pub(crate) fn preferred(headers: &HeaderMap, offered: &[&'static str]) -> Option<&'static str> {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let ranges: Vec<_> = lines.flat_map(|line| line.split(',')).filter_map(media_range).collect();
    if ranges.is_empty() {
        return offered.first().copied();
    }
    let accepted = offered.iter().filter_map(|media_type| Some((preference(&ranges, media_type)?, *media_type)));
    // The last of equals is the maximum, so the first must come last.
    accepted.rev().max_by_key(|(preference, _)| *preference).map(|(_, media_type)| media_type)
}

/// The range and its `q`, in thousandths. `None` for an empty element.
fn media_range(element: &str) -> Option<(&str, u16)> {
    let mut parts = element.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?;
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some((range, quality.map_or(1000, thousandths)))
}

/// A `q` such as `0.5`. One that cannot be read counts as 1.
fn thousandths(quality: &str) -> u16 {
    let (whole, fraction) = quality.split_once('.').unwrap_or((quality, ""));
    match (whole, format!("{fraction:0<3.3}").parse()) {
        ("0", Ok(thousandths)) => thousandths,
        _ => 1000,
    }
}

/// How well `media_type` is accepted. The most specific range that matches decides.
fn preference(ranges: &[(&str, u16)], media_type: &str) -> Option<Preference> {
    let group = media_type.split_once('/').map_or(media_type, |(group, _)| group);
    let specificity = |range: &str| {
        let is_group = || range.strip_suffix("/*").is_some_and(|it| it.eq_ignore_ascii_case(group));
        match range {
            "*/*" => Some(0),
            _ if range.eq_ignore_ascii_case(media_type) => Some(2),
            _ => is_group().then_some(1),
        }
    };
    let matching = ranges.iter().filter_map(|(range, quality)| Some((specificity(range)?, *quality)));
    let (specificity, quality) = matching.max()?;
    (quality > 0).then_some((quality, specificity))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "application/json";
    const STREAM: &str = "text/event-stream";

    #[test]
    fn the_best_accepted_type_is_sent_and_of_equals_the_first() {
        let table = [
            ("", Some(JSON)),
            ("*/*", Some(JSON)),
            ("text/event-stream", Some(STREAM)),
            ("Text/Event-Stream", Some(STREAM)),
            ("application/json", Some(JSON)),
            ("application/json, text/event-stream", Some(JSON)),
            ("text/event-stream, application/json", Some(JSON)),
            ("text/event-stream, */*", Some(STREAM)),
            ("text/event-stream;q=0.5, */*", Some(JSON)),
            ("application/json;q=0.5, text/event-stream;q=0.75", Some(STREAM)),
            ("application/json; charset=utf-8", Some(JSON)),
            ("text/event-stream;q=0.001, application/json;q=0", Some(STREAM)),
            ("text/*", Some(STREAM)),
            ("text/*, text/event-stream;q=0, application/*;q=0.1", Some(JSON)),
            ("text/event-stream;q=2", Some(STREAM)),
            (" , ,text/event-stream", Some(STREAM)),
            ("text/html", None),
            ("text/event-stream;q=0", None),
            ("*/*;q=0", None),
        ];
        for (accept, expected) in table {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(preferred(&headers, &[JSON, STREAM]), expected, "{accept:?}");
        }
        assert_eq!(preferred(&HeaderMap::new(), &[STREAM]), Some(STREAM));
    }
}
