//! Execution plans from the log of Postgres, where `auto_explain` writes them.

use std::collections::HashMap;

/// What the log has of one statement.
#[derive(Debug, Default)]
pub(crate) struct Statement {
    /// The duration of each execution, in milliseconds.
    pub(crate) durations_ms: Vec<f64>,
    /// The plan of the last execution.
    pub(crate) plan: String,
}

/// Statements by their text.
pub(crate) fn parse(log: &str) -> HashMap<String, Statement> {
    let mut statements: HashMap<String, Statement> = HashMap::new();
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(duration_ms) = parse_duration_ms(line) else { continue };
        let mut body = Vec::new();
        while let Some(more) = lines.next_if(|line| line.starts_with('\t')) {
            body.push(&more[1..]);
        }
        // The text of the statement comes first; the plan begins at the first line with estimated costs.
        let at = body.iter().position(|line| line.contains("  (cost=")).unwrap_or(body.len());
        let text = body[..at].join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
        let statement = statements.entry(text.trim_start_matches("Query Text: ").to_owned()).or_default();
        statement.durations_ms.push(duration_ms);
        statement.plan = body[at..].join("\n");
    }
    statements
}

/// The figure of `… LOG:  duration: 0.123 ms  plan:`.
fn parse_duration_ms(line: &str) -> Option<f64> {
    line.split_once("LOG:  duration: ")?.1.strip_suffix(" ms  plan:")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_plan_and_all_durations_of_a_statement_are_kept() {
        let entry = |ms: &str, rows: u8| {
            format!(
                "2026-01-01 [7] LOG:  duration: {ms} ms  plan:\n\tQuery Text: SELECT 1\n\tFROM renders\n\
                 \tSeq Scan on renders  (cost=0.00..1.00 rows={rows} width=4)\n\t  Buffers: shared hit=1\n"
            )
        };
        let log = format!("{}2026-01-01 [7] LOG:  checkpoint starting: wal\n{}", entry("0.5", 1), entry("0.25", 2));
        let statements = parse(&log);
        assert_eq!(statements.len(), 1);
        let statement = &statements["SELECT 1 FROM renders"];
        assert_eq!(statement.durations_ms, [0.5, 0.25]);
        let plan = "Seq Scan on renders  (cost=0.00..1.00 rows=2 width=4)\n  Buffers: shared hit=1";
        assert_eq!(statement.plan, plan);
    }
}
