//! The page that shows what the stand-in did: plain HTML, without a script.

use std::fmt::{self, Display, Write as _};

use url::Url;

use crate::standin::call_log::{ApiCall, WebhookAttempt, WebhookOutcome};
use crate::standin::renders::Project;

/// How many rows each table has at most: the newest.
const MAX_ROWS: usize = 100;
/// How often a page that reloads does so, in seconds.
const RELOAD_SECONDS: u32 = 2;

const STYLE: &str = "
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif; }
body { margin: 1.5rem; }
table { border-collapse: collapse; width: 100%; margin: 0.5rem 0 1.5rem; }
caption { text-align: left; font-weight: 600; padding: 0.3rem 0; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.6rem 0.25rem 0; border-bottom: 1px solid #8886; }
td { overflow-wrap: anywhere; }
form { display: inline; }
";

/// What it shows.
pub(super) struct Page {
    /// The newest first.
    pub(super) projects: Vec<Project>,
    /// The oldest first.
    pub(super) calls: Vec<ApiCall>,
    /// The oldest first.
    pub(super) webhooks: Vec<WebhookAttempt>,
    /// Where webhooks are posted.
    pub(super) receiver: Option<Url>,
    /// Whether it reloads itself.
    pub(super) reloads: bool,
}

impl Page {
    pub(super) fn to_html(&self) -> String {
        let mut html = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut html);
        html
    }

    fn write(&self, html: &mut String) -> fmt::Result {
        let (reload, link) = if self.reloads {
            (format!("<meta http-equiv=\"refresh\" content=\"{RELOAD_SECONDS}\">"), "<a href=\"/\">Stop reloading</a>")
        } else {
            (String::new(), "<a href=\"/?reload\">Reload every 2 seconds</a>")
        };
        let receiver = self.receiver.as_ref().map_or("nowhere: --webhook-url is not set", Url::as_str);
        write!(
            html,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">{reload}\
             <meta name=\"viewport\" content=\"width=device-width\"><title>Magic Hour stand-in</title>\
             <style>{STYLE}</style></head><body>\n<h1>Magic Hour stand-in</h1>\n\
             <p>Webhooks are posted to {receiver}. {link}</p>\n<p>{start} {fault}</p>\n",
            receiver = Escaped(receiver),
            start = button("/standin/renders", "Start a video, an image and an audio render"),
            fault = FAULT_FORM,
        )?;
        self.write_renders(html)?;
        self.write_webhooks(html)?;
        self.write_calls(html)?;
        html.write_str("</body></html>\n")
    }

    fn write_renders(&self, html: &mut String) -> fmt::Result {
        begin_table(html, "Renders", &["created", "id", "type", "name", "status", "credits", "files", "actions"])?;
        for project in self.projects.iter().take(MAX_ROWS) {
            let status = project.status.as_deref().unwrap_or_default();
            let status = match &project.error_code {
                _ if !project.enabled => "deleted".to_owned(),
                Some(code) => format!("{status}: {code}"),
                None => status.to_owned(),
            };
            let is_unfinished = project.enabled && matches!(&*status, "draft" | "queued" | "rendering");
            let created = project.created_at.format("%H:%M:%S").to_string();
            let credits = project.credits_charged.to_string();
            let name = project.name.as_deref().unwrap_or_default();
            begin_row(html, &[&created, &project.id, project.project_type, name, &status, &credits])?;
            html.write_str("<td>")?;
            for (number, url) in (1..).zip(&project.downloads) {
                write!(html, "<a href=\"{}\">{number}</a> ", Escaped(url.as_str()))?;
            }
            html.write_str("</td><td>")?;
            if is_unfinished {
                for (action, label) in [("complete", "Complete"), ("cancel", "Cancel"), ("fail", "Fail")] {
                    html.write_str(&button(&format!("/standin/renders/{}/{action}", project.id), label))?;
                }
            }
            html.write_str("</td></tr>\n")?;
        }
        html.write_str("</table>\n")
    }

    fn write_webhooks(&self, html: &mut String) -> fmt::Result {
        begin_table(html, "Webhooks", &["sent", "event", "render", "attempt", "status", "answer"])?;
        for webhook in self.webhooks.iter().rev().take(MAX_ROWS) {
            let (status, answer) = match &webhook.outcome {
                WebhookOutcome::Lost => ("not sent".to_owned(), ""),
                WebhookOutcome::Unanswered(_) => ("no answer".to_owned(), ""),
                WebhookOutcome::Answered(_, answer) => (answer.status.as_u16().to_string(), &*answer.body),
            };
            let (at, attempt) = (webhook.at.format("%H:%M:%S").to_string(), webhook.attempt.to_string());
            begin_row(html, &[&at, webhook.event_type.as_str(), &webhook.id, &attempt, &status, answer])?;
            html.write_str("</tr>\n")?;
        }
        html.write_str("</table>\n")
    }

    fn write_calls(&self, html: &mut String) -> fmt::Result {
        begin_table(html, "Calls", &["received", "method", "path", "status", "created"])?;
        for call in self.calls.iter().rev().take(MAX_ROWS) {
            let at = call.at.format("%H:%M:%S").to_string();
            let status = call.status.map_or_else(|| "closed".to_owned(), |status| status.to_string());
            let created = call.created.as_deref().unwrap_or_default();
            begin_row(html, &[&at, call.method.as_str(), &call.path, &status, created])?;
            html.write_str("</tr>\n")?;
        }
        html.write_str("</table>\n")
    }
}

const FAULT_FORM: &str = "<form method=\"post\" action=\"/standin/faults\">\
    <label>The next <input name=\"count\" type=\"number\" min=\"1\" max=\"1000\" value=\"1\"></label> \
    <label>calls get <select name=\"status\"><option>401<option>402<option>404<option>429<option selected>500\
    <option>503<option value=\"close\">no answer</select></label> <button>Fail them</button></form> \
    <form method=\"post\" action=\"/standin/faults/clear\"><button>No more faults</button></form>";

fn button(action: &str, label: &str) -> String {
    format!("<form method=\"post\" action=\"{}\"><button>{label}</button></form> ", Escaped(action))
}

fn begin_table(html: &mut String, caption: &str, columns: &[&str]) -> fmt::Result {
    write!(html, "<table><caption>{caption}</caption><tr>")?;
    columns.iter().try_for_each(|column| write!(html, "<th scope=\"col\">{column}</th>"))?;
    html.write_str("</tr>\n")
}

/// A row's first cells.
fn begin_row(html: &mut String, cells: &[&str]) -> fmt::Result {
    html.write_str("<tr>")?;
    cells.iter().try_for_each(|cell| write!(html, "<td>{}</td>", Escaped(cell)))
}

/// A text in HTML, also in an attribute's quotation marks.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            letter => f.write_char(letter),
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use renderhook::domain::Kind;

    use super::*;

    fn page(project: Project) -> String {
        let (calls, webhooks) = (Vec::new(), Vec::new());
        Page { projects: vec![project], calls, webhooks, receiver: None, reloads: false }.to_html()
    }

    #[test]
    fn what_others_wrote_is_escaped() {
        let mut project = Project::new(Kind::Video, "\"><b>", DateTime::UNIX_EPOCH);
        project.name = Some("<script>alert('&')</script>".to_owned());
        project.status = Some("queued".to_owned());
        let html = page(project);
        assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
        assert!(html.contains("&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;"));
    }

    #[test]
    fn only_an_unfinished_render_has_buttons() {
        for (status, has_buttons) in [("queued", true), ("rendering", true), ("complete", false), ("canceled", false)] {
            let mut project = Project::new(Kind::Video, "clx", DateTime::UNIX_EPOCH);
            project.status = Some(status.to_owned());
            assert_eq!(page(project).contains("/standin/renders/clx/cancel"), has_buttons, "{status}");
        }
    }
}
