//! `docs/develop.md` matches the stand-in.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use clap::CommandFactory as _;
use renderhook::domain::Kind;
use renderhook::runtime::Clock;
use renderhook_dev::cli::DevCli;
use renderhook_dev::standin::{ApiDescription, Lifecycle, Mode, RenderPlan, Settings, StandIn};
use reqwest::Client;
use reqwest::redirect::Policy;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::tables::first_column;

const DEVELOP: &str = include_str!("../../../docs/develop.md");

#[test]
fn the_table_of_flags_is_complete() {
    let command = DevCli::command();
    let standin = command.find_subcommand("standin").unwrap();
    let flags: BTreeSet<String> = standin.get_arguments().filter_map(clap::Arg::get_long).map(str::to_owned).collect();
    let (_, table) = DEVELOP.split_once("| flag | default | meaning |").expect("the table of flags");
    let (table, _) = table.split_once("\n\n").expect("its end");
    let cells = table.lines().filter_map(|row| row.split('|').nth(1));
    let words = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let written: BTreeSet<String> = words.map(|word| word.trim_start_matches("--").to_owned()).collect();
    assert_eq!(written, flags);
    for flag in ["listen", "render-time"] {
        let flag = standin.get_arguments().find(|argument| argument.get_long() == Some(flag)).unwrap();
        let default = flag.get_default_values()[0].to_str().unwrap();
        assert!(table.contains(&format!("| `--{}` | `{default}` |", flag.get_long().unwrap())), "{default}");
    }
}

#[test]
fn the_modes_that_only_the_sdks_have_are_named() {
    let is_described = |mode: &&Mode| {
        let path = format!("/v1/{}", mode.path);
        ApiDescription::magic_hour().operations().iter().any(|call| call.path == path)
    };
    for mode in Mode::ALL.iter().filter(|mode| !is_described(mode)) {
        assert!(DEVELOP.contains(&format!("`{}`", mode.path)), "{} is not named", mode.path);
    }
}

/// A stand-in whose renders take no time.
async fn standin() -> StandIn {
    let settings = Settings::new(Clock::system(), SecretString::from("whsec_unused"));
    StandIn::start(Settings { render_time: TimeDelta::zero(), ..settings }).await.unwrap()
}

#[tokio::test]
async fn the_words_in_names_do_what_the_table_says() {
    let magic_hour = standin().await;
    let words = first_column(DEVELOP, "| word | effect |");
    assert_eq!(words.len(), 5);
    for word in words {
        let body = json!({"name": format!("order-17 {word}"), "image_count": 1, "style": {"prompt": "A dog"}});
        let create = Client::new().post(format!("{}/v1/ai-image-generator", magic_hour.base)).json(&body);
        let created = create.bearer_auth(magic_hour.api_key.expose_secret()).send().await.unwrap();
        let created: Value = created.json().await.unwrap();
        let project = magic_hour.project(created["id"].as_str().unwrap()).unwrap();
        let expected = match word {
            "#fail" => ("error", Some("no_source_face")),
            "#fail:text_too_long" => ("error", Some("text_too_long")),
            "#cancel" => ("canceled", None),
            "#time:30s" => ("queued", None),
            // That nothing reports it is tested with the stand-in.
            "#silent" => ("complete", None),
            word => panic!("{word} is not tested"),
        };
        assert_eq!((project.status.as_deref().unwrap(), project.error_code.as_deref()), expected, "{word}");
    }
}

#[tokio::test]
async fn every_call_of_the_table_works() {
    let magic_hour = standin().await;
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let calls = first_column(DEVELOP, "| call | effect |");
    assert_eq!(calls.len(), 7);
    for call in calls {
        magic_hour.start_render(RenderPlan::new(Kind::Video, "clx", Lifecycle::queued())).unwrap();
        let (method, path) = call.split_once(' ').unwrap();
        let url = magic_hour.base.join(&path.replace("{id}", "clx")).unwrap();
        let request = client.request(method.parse().unwrap(), url).body("status=503&code=text_too_long");
        let status = request.send().await.unwrap().status();
        assert_eq!(status, if method == "GET" { 200 } else { 303 }, "{call}");
    }
}
