//! The screen of `status`.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::cli::table::aligned;
use crate::domain::{Kind, NotificationState, Status};
use crate::runtime::Tally;
use crate::views::{LatestError, Overview, UrgentDownload};

/// The screen at `now`.
pub(super) fn text(overview: &Overview, now: DateTime<Utc>) -> String {
    let time = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut blocks = vec![
        vec![format!("renderhook {} at {time}", env!("CARGO_PKG_VERSION"))],
        aligned(&renders(overview)),
        aligned(&files_and_notifications(overview)),
        titled("Most urgent downloads", "none: every file is stored or has failed", &urgent(&overview.urgent, now)),
        titled("Latest errors", "none", &errors(&overview.errors, now)),
    ];
    if overview.backlog.endangered > 0 {
        let count = overview.backlog.endangered;
        blocks.insert(1, vec![format!("FILES ARE ABOUT TO BE LOST: {count}; see docs/operations.md")]);
    }
    blocks.into_iter().map(|block| block.join("\n")).collect::<Vec<_>>().join("\n\n")
}

fn titled(title: &str, nothing: &str, rows: &[Vec<String>]) -> Vec<String> {
    if rows.is_empty() {
        return vec![format!("{title}: {nothing}")];
    }
    let lines = aligned(rows).into_iter().map(|line| format!("  {line}"));
    std::iter::once(format!("{title}:")).chain(lines).collect()
}

fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// A row per kind, a column per status.
fn renders(overview: &Overview) -> Vec<Vec<String>> {
    let statuses = || Status::ALL.into_iter().map(Some).chain([None]);
    let names = statuses().map(|status| status.map_or("unknown", Status::as_str).to_owned());
    let head = std::iter::once("renders".to_owned()).chain(names).collect();
    let row = |kind: Kind| {
        let counts = statuses().map(|status| overview.totals.get(Tally::Renders(kind, status)).to_string());
        std::iter::once(format!("  {kind}")).chain(counts).collect()
    };
    std::iter::once(head).chain(Kind::ALL.into_iter().map(row)).collect()
}

fn files_and_notifications(overview: &Overview) -> Vec<Vec<String>> {
    let Overview { totals, backlog, .. } = overview;
    let downloading = i32::try_from(backlog.downloading).unwrap_or(i32::MAX);
    let pending = (totals.get(Tally::FilesUnsettled) - f64::from(downloading)).max(0.0);
    let notifications = |state| totals.get(Tally::Notifications(state)).to_string();
    vec![
        cells(["", "pending", "downloading", "stored", "failed"]),
        vec![
            "downloads".to_owned(),
            pending.to_string(),
            downloading.to_string(),
            totals.get(Tally::FilesStored).to_string(),
            totals.get(Tally::FilesFailed).to_string(),
        ],
        cells(["", "pending", "", "delivered", "failed"]),
        vec![
            "notifications".to_owned(),
            notifications(NotificationState::Pending),
            String::new(),
            notifications(NotificationState::Delivered),
            notifications(NotificationState::Failed),
        ],
    ]
}

fn urgent(downloads: &[UrgentDownload], now: DateTime<Utc>) -> Vec<Vec<String>> {
    let row = |it: &UrgentDownload| {
        vec![
            it.expires_at.map_or("no known expiry".to_owned(), |at| expiry(at, now)),
            format!("{} {}", it.render_id, it.index),
            it.state.clone(),
            format!("{} attempts", it.attempts),
            it.error_code.clone().unwrap_or_default(),
        ]
    };
    downloads.iter().map(row).collect()
}

fn errors(errors: &[LatestError], now: DateTime<Utc>) -> Vec<Vec<String>> {
    let row = |it: &LatestError| {
        let code = it.code.clone().unwrap_or_else(|| "no code".to_owned());
        vec![
            format!("{} ago", time(it.at, now)),
            it.index.map_or(it.render_id.clone(), |index| format!("{} {index}", it.render_id)),
            it.message.as_ref().map_or(code.clone(), |message| format!("{code}: {message}")),
        ]
    };
    errors.iter().map(row).collect()
}

fn expiry(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if at > now { format!("expires in {}", time(now, at)) } else { format!("expired {} ago", time(at, now)) }
}

/// The time from `from` to `to`, in at most two units.
fn time(from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    let seconds = (to - from).num_seconds().max(0).unsigned_abs();
    // Minutes tell enough of hours, and hours of days.
    let unit = match seconds {
        86_400.. => 3_600,
        3_600.. => 60,
        _ => 1,
    };
    humantime::format_duration(Duration::from_secs(seconds / unit * unit)).to_string()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::archive::Backlog;
    use crate::runtime::Totals;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn overview() -> Overview {
        let backlog = Backlog {
            downloading: 1,
            first_expires_at: None,
            oldest_observed_at: None,
            endangered: 0,
            most_urgent: None,
            most_urgent_expires_at: None,
        };
        let totals = Totals::from_iter([
            (Tally::Renders(Kind::Video, Some(Status::Complete)), 12_345.0),
            (Tally::FilesUnsettled, 3.0),
            (Tally::FilesStored, 20_000.0),
            (Tally::Notifications(NotificationState::Delivered), 7.0),
        ]);
        Overview { totals, backlog, urgent: Vec::new(), errors: Vec::new() }
    }

    #[test]
    fn if_nothing_is_wrong_the_screen_says_so() {
        let screen = text(&overview(), now());
        let expected = [
            concat!("renderhook ", env!("CARGO_PKG_VERSION"), " at 2027-01-15T08:00:00Z"),
            "",
            "renders  draft  queued  rendering  error  canceled  complete  unknown",
            "  video  0      0       0          0      0         12345     0",
            "  image  0      0       0          0      0         0         0",
            "  audio  0      0       0          0      0         0         0",
            "",
            "               pending  downloading  stored     failed",
            "downloads      2        1            20000      0",
            "               pending               delivered  failed",
            "notifications  0                     7          0",
            "",
            "Most urgent downloads: none: every file is stored or has failed",
            "",
            "Latest errors: none",
        ];
        assert_eq!(screen.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn urgent_downloads_and_errors_are_listed() {
        let download = |expires_at, error_code: Option<&str>| UrgentDownload {
            render_id: "clx".to_owned(),
            index: 0,
            state: "pending".to_owned(),
            attempts: 3,
            expires_at,
            error_code: error_code.map(str::to_owned),
        };
        let error = |index| LatestError {
            at: now() - TimeDelta::minutes(61),
            render_id: "other".to_owned(),
            index,
            code: Some("http_404".to_owned()),
            message: Some("gone".to_owned()),
        };
        let overview = Overview {
            urgent: vec![
                download(Some(now() - TimeDelta::seconds(90)), Some("http_403")),
                download(Some(now() + TimeDelta::hours(25)), None),
                download(None, None),
            ],
            errors: vec![error(Some(2)), error(None)],
            backlog: Backlog { endangered: 4, ..overview().backlog },
            ..overview()
        };
        let screen = text(&overview, now());
        for line in [
            "FILES ARE ABOUT TO BE LOST: 4; see docs/operations.md",
            "  expired 1m 30s ago  clx 0  pending  3 attempts  http_403",
            "  expires in 1day 1h  clx 0  pending  3 attempts",
            "  no known expiry     clx 0  pending  3 attempts",
            "  1h 1m ago  other 2  http_404: gone",
            "  1h 1m ago  other    http_404: gone",
        ] {
            assert!(screen.lines().any(|there| there == line), "{line:?} in\n{screen}");
        }
    }
}
