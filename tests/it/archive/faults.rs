//! Failures of a file's server, and what must hold afterwards.

use std::net::Ipv4Addr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use renderhook::archive::{Fetcher, Guard, RetryFilter, preview_retry, retry_downloads};
use renderhook::runtime::Clock;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::net::TcpListener;
use url::Url;

use crate::support::app::{signed, video};
use crate::support::harness::{Harness, PART, fetcher, noise};
use crate::support::process::{Service, database_url, serve};
use crate::support::scripted::{Length, Origin, Step};
use crate::support::tls::{Ending, TlsFront};
use crate::support::until;

#[sqlx::test]
async fn every_way_to_fail_leaves_no_object_and_the_next_attempt_stores_the_whole(pool: PgPool) {
    let file = noise(300_000, 1);
    let table = [
        ("silent", Step::hold(0), "stalled"),
        ("short", Step { length: Length::More(10), ..Step::default() }, "broken_off"),
        ("cut", Step::cut(0), "broken_off"),
        ("not-modified", Step::status(304), "http_304"),
        ("choices", Step::status(300), "http_300"),
        ("packed", Step::default().with("content-encoding", "gzip"), "encoded"),
        ("ranged", Step::status(206), "http_206"),
        ("empty", Step::status(204), "http_204"),
        ("busy", Step::status(503), "http_503"),
        ("broken", Step::status(500), "http_500"),
        ("often", Step::status(429), "http_429"),
        ("denied", Step::status(403), "http_403"),
        ("gone", Step::status(404), "http_404"),
        ("over", Step::status(410), "http_410"),
        ("bad", Step::status(400), "http_400"),
        ("unknown", Step::status(401), "http_401"),
        ("teapot", Step::status(418), "http_418"),
        ("hashed", Step::default().with("x-goog-hash", "crc32c=AAAAAA=="), "wrong_hash"),
        (
            "digest",
            Step::default().with("repr-digest", format!("sha-256=:{}:", BASE64_STANDARD.encode([7; 32]))),
            "wrong_hash",
        ),
        ("md5", Step::default().with("x-goog-hash", format!("md5={}", BASE64_STANDARD.encode([7; 16]))), "wrong_hash"),
    ];
    let harness = Harness::folder(&pool);
    for (id, step, code) in table {
        let origin = Origin::start(file.clone()).await;
        origin.next([step]);
        harness.queue(id, origin.url("a.mp4")).await;
        let row = harness.attempt(id).await;
        assert_eq!(row.outcome(), ("pending", Some(code)), "{id}: {:?}", row.error_message);
        assert!(row.error_message.is_some_and(|message| !message.is_empty()));
        harness.assert_nothing(id).await;
        harness.attempt(id).await;
        harness.assert_stored(id, &file).await;
    }
}

#[sqlx::test]
async fn a_server_that_falls_silent_is_cut_and_a_slow_one_is_not(pool: PgPool) {
    let file = noise(40_000, 2);
    let harness = Harness::folder(&pool);
    let origin = Origin::start(file.clone()).await;
    origin.next([Step::hold(20_000), Step { pieces: Some(10), ..Step::default() }]);
    harness.queue("slow", origin.url("a.mp4")).await;
    harness.attempt("slow").await;
    harness.assert_stored("slow", &file).await;
    assert_eq!(origin.offsets(), [0, 20_000]);
}

#[sqlx::test]
async fn a_server_that_does_not_answer_is_tried_again(pool: PgPool) {
    let file = noise(1000, 11);
    let harness = Harness::folder(&pool);
    let origin = Origin::start(file.clone()).await;
    origin.next([Step { hold_head: true, ..Step::default() }]);
    harness.queue("mute", origin.url("a.mp4")).await;
    assert_eq!(harness.attempt("mute").await.outcome(), ("pending", Some("no_answer")));
    harness.assert_nothing("mute").await;
    harness.attempt("mute").await;
    harness.assert_stored("mute", &file).await;
}

#[sqlx::test]
async fn a_server_that_is_not_there_is_tried_again(pool: PgPool) {
    let harness = Harness::folder(&pool);
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    for (id, url) in [("closed", format!("http://{closed}/a.mp4")), ("nameless", "http://nobody.invalid/a.mp4".into())]
    {
        harness.queue(id, url.parse().unwrap()).await;
        let row = harness.attempt(id).await;
        assert_eq!(row.outcome(), ("pending", Some("connect_failed")), "{id}: {:?}", row.error_message);
        harness.assert_nothing(id).await;
    }
}

#[sqlx::test]
async fn a_name_that_resolves_to_a_private_address_is_not_fetched_and_is_tried_again(pool: PgPool) {
    let origin = Origin::start(noise(1000, 12)).await;
    let harness = Harness::folder(&pool).with(|downloader| {
        downloader.fetcher = Fetcher::new(Guard::new(Vec::new(), false), 1 << 30).unwrap();
    });
    let mut url = origin.url("a.mp4").to_string().replace("http:", "https:").parse::<Url>().unwrap();
    url.set_host(Some("localhost")).unwrap();
    harness.queue("name", url).await;
    let row = harness.attempt("name").await;
    assert_eq!((row.outcome(), row.attempts), (("pending", Some("private_address")), 1), "{:?}", row.error_message);
    assert_eq!(origin.requests().len(), 0);
    harness.assert_nothing("name").await;
}

#[sqlx::test]
async fn a_proxy_from_the_environment_is_not_used(pool: PgPool) {
    let file = noise(1000, 13);
    let origin = Origin::start(file.clone()).await;
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let folder = TempDir::new().unwrap();
    let mut command = serve(&database_url(&pool), &folder);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, format!("http://{nobody}"));
    }
    let service = Service::start(command).await;
    let mut project = video("direct", "complete");
    project.downloads.push(origin.url("a.mp4"));
    let delivery = signed(&project.event("video.completed"));
    assert_eq!(delivery.post(&service.client, &service.at("webhook")).await.unwrap().status, 200);
    until("the file to be stored", || async { service.log.events("download.stored").pop() }).await;
    assert!(std::fs::read(folder.path().join("video/direct/0-a.mp4")).unwrap() == file);
    service.stop().await;
}

#[sqlx::test]
async fn an_empty_file_is_stored(pool: PgPool) {
    for (harness, id) in Harness::both(&pool).await.iter().zip(["folder", "bucket"]) {
        let origin = Origin::start(Vec::new()).await;
        harness.queue(id, origin.url("a.mp4")).await;
        harness.attempt(id).await;
        harness.assert_stored(id, &[]).await;
        assert_eq!(harness.row(id).await.content_type.as_deref(), Some("video/mp4"));
    }
}

#[sqlx::test]
async fn bytes_after_the_announced_end_are_not_stored(pool: PgPool) {
    let file = noise(50_000, 3);
    let harness = Harness::folder(&pool);
    let origin = Origin::start(file.clone()).await;
    origin.next([Step { length: Length::Less(20_000), ..Step::default() }]);
    harness.queue("more", origin.url("a.mp4")).await;
    harness.attempt("more").await;
    harness.assert_stored("more", &file[..30_000]).await;
}

#[sqlx::test]
async fn hashes_are_compared_across_a_resumed_transfer(pool: PgPool) {
    let file = noise(2 * PART, 4);
    let harness = Harness::folder(&pool);
    let origin = Origin::start(file.clone()).await;
    let digest = format!("sha-256=:{}:", BASE64_STANDARD.encode(Sha256::digest(&file)));
    let crc = BASE64_STANDARD.encode(crc32c::crc32c(&file).to_be_bytes());
    let hashed = Step::default().with("repr-digest", digest).with("x-goog-hash", format!("crc32c={crc}"));
    // MD5 is announced only when it is too late to compute it.
    let late = hashed.clone().with("x-goog-hash", format!("crc32c={crc},md5={}", BASE64_STANDARD.encode([1; 16])));
    origin.next([Step { cut: Some(PART + 1), ..hashed }, Step::status(503), late]);
    harness.queue("hashed", origin.url("a.mp4")).await;
    harness.attempt("hashed").await;
    harness.attempt("hashed").await;
    harness.assert_stored("hashed", &file).await;
    assert_eq!(origin.offsets()[2..], [PART as u64]);
}

#[sqlx::test]
async fn after_the_last_attempt_the_error_has_the_whole_story_and_both_hashes(pool: PgPool) {
    let harness = Harness::folder(&pool).with(|downloader| downloader.max_attempts = 2);
    let origin = Origin::start(noise(1000, 5)).await;
    origin.always(Step::default().with("x-goog-hash", "crc32c=AAAAAA=="));
    harness.queue("story", origin.url("a.mp4")).await;
    assert_eq!(harness.attempt("story").await.state, "pending");
    let row = harness.attempt("story").await;
    assert_eq!(row.outcome(), ("failed", Some("wrong_hash")));
    let story = row.error_message.unwrap();
    let received = hex::encode(crc32c::crc32c(&noise(1000, 5)).to_be_bytes());
    for part in ["gave up after 2 attempts since 20", "crc32c 00000000", received.as_str()] {
        assert!(story.contains(part), "{part} is not in {story}");
    }
    harness.assert_nothing("story").await;
}

#[sqlx::test]
async fn retry_after_is_honored(pool: PgPool) {
    let harness = Harness::folder(&pool);
    let origin = Origin::start(noise(10, 6)).await;
    origin.next([Step::status(503).with("retry-after", "1800")]);
    harness.queue("later", origin.url("a.mp4")).await;
    let due_at = harness.attempt("later").await.due_at.unwrap();
    let minutes = (due_at - Clock::system().now()).num_minutes();
    assert!((28..=30).contains(&minutes), "{minutes}");
}

#[sqlx::test]
async fn redirects_are_followed_as_far_as_the_guard_allows_and_others_are_tried_again(pool: PgPool) {
    let file = noise(1000, 7);
    let harness = Harness::folder(&pool);
    let to = |place: &str| Step::status(302).with("location", place);
    let table = [
        ("three", vec![to("/b"), to("/c"), to("/d")], ("stored", None)),
        ("four", vec![to("/b"), to("/c"), to("/d"), to("/e")], ("pending", Some("too_many_redirects"))),
        ("scheme", vec![to("ftp://127.0.0.1/a")], ("pending", Some("not_https"))),
        ("userinfo", vec![to("https://a:b@example.com/a")], ("pending", Some("userinfo_in_url"))),
        ("metadata", vec![to("http://169.254.169.254/latest")], ("pending", Some("private_address"))),
        ("nowhere", vec![to("")], ("pending", Some("invalid_redirect"))),
        ("missing", vec![Step::status(302)], ("pending", Some("invalid_redirect"))),
    ];
    for (id, steps, outcome) in table {
        let origin = Origin::start(file.clone()).await;
        origin.next(steps);
        harness.queue(id, origin.url("a.mp4?secret=1")).await;
        assert_eq!(harness.attempt(id).await.outcome(), outcome, "{id}");
        for asked in origin.requests() {
            for header in ["authorization", "cookie", "referer", "x-goog-date", "content-type"] {
                assert!(!asked.headers.contains_key(header), "{id}: {header}");
            }
            assert_eq!(asked.headers["accept-encoding"], "identity");
        }
    }
}

#[sqlx::test]
async fn a_stored_url_that_the_guard_refuses_fails_at_once_and_can_be_retried(pool: PgPool) {
    let file = noise(1000, 8);
    let origin = Origin::start(file.clone()).await;
    let strict = |downloader: &mut renderhook::archive::Downloader| {
        let hosts = vec!["magichour.ai".parse().unwrap()];
        downloader.fetcher = Fetcher::new(Guard::new(hosts, false), 1 << 30).unwrap();
    };
    let harness = Harness::folder(&pool).with(strict);
    let table = [
        ("http", origin.url("a.mp4").to_string(), "not_https"),
        ("loopback", origin.url("a.mp4").to_string().replace("http:", "https:"), "private_address"),
        ("elsewhere", "https://example.com/a.mp4".to_owned(), "host_not_allowed"),
        ("lookalike", "https://evilmagichour.ai/a.mp4".to_owned(), "host_not_allowed"),
        ("user", "https://user@videos.magichour.ai/a.mp4".to_owned(), "userinfo_in_url"),
    ];
    for (id, url, code) in table {
        harness.queue(id, url.parse().unwrap()).await;
        let row = harness.attempt(id).await;
        assert_eq!((row.outcome(), row.attempts), (("failed", Some(code)), 1), "{id}");
        harness.assert_nothing(id).await;
    }
    assert_eq!(origin.requests().len(), 0);

    // Once the settings are right.
    let harness = harness.with(|downloader| downloader.fetcher = fetcher(1 << 30));
    let (database, http, now) =
        (&harness.downloader.database, RetryFilter::render("http".parse().unwrap()), Clock::system().now());
    assert_eq!(preview_retry(database, &http, now).await.unwrap().len(), 1);
    let retried = retry_downloads(database, &http, now).await.unwrap();
    assert_eq!((retried.len(), retried[0].error.as_ref().unwrap().code.as_str()), (1, "not_https"));
    let row = harness.row("http").await;
    assert_eq!((row.state.as_str(), row.attempts), ("pending", 0));
    harness.attempt("http").await;
    harness.assert_stored("http", &file).await;
    assert_eq!(harness.row("user").await.state, "failed");
}

#[sqlx::test]
async fn a_file_that_is_too_large_fails_by_its_header_or_while_it_streams(pool: PgPool) {
    let file = noise(PART + 100_000, 9);
    for (harness, store) in Harness::both(&pool).await.into_iter().zip(["folder", "bucket"]) {
        let harness = harness.with(|downloader| downloader.fetcher = fetcher(PART as u64 + 50_000));
        for (way, length) in [("header", Length::True), ("stream", Length::Chunked), ("closing", Length::Closing)] {
            let id = &format!("{store}-{way}");
            let origin = Origin::start(file.clone()).await;
            origin.next([Step { length, ..Step::default() }]);
            harness.queue(id, origin.url("a.mp4")).await;
            let row = harness.attempt(id).await;
            assert_eq!((row.outcome(), row.attempts), (("failed", Some("too_large")), 1), "{id}");
            assert!(row.error_message.unwrap().contains("DOWNLOAD_MAX_BYTES"));
            harness.assert_nothing(id).await;
        }
    }
}

#[sqlx::test]
async fn without_an_api_key_the_error_says_what_is_missing(pool: PgPool) {
    let harness = Harness::folder(&pool);
    let origin = Origin::start(noise(10, 10)).await;
    origin.next([Step::status(403)]);
    harness.queue("key", origin.url("a.mp4?secret=hush")).await;
    let row = harness.attempt("key").await;
    assert_eq!(row.outcome(), ("pending", Some("http_403")));
    let message = row.error_message.unwrap();
    assert!(message.contains("MAGIC_HOUR_API_KEY") && !message.contains("hush"), "{message}");
}

#[sqlx::test]
async fn a_body_that_only_the_connection_ends_is_stored_when_two_reads_agree(pool: PgPool) {
    let file = noise(200_000, 14);
    for (harness, id) in Harness::both(&pool).await.iter().zip(["folder", "bucket"]) {
        let origin = Origin::start(file.clone()).await;
        let closing = Step { length: Length::Closing, ..Step::default() };
        origin.always(closing.clone());
        // The server dies halfway: a plain end of the connection.
        origin.next([Step { cut: Some(100_000), ..closing }]);
        harness.queue(id, origin.url("a.mp4")).await;
        let row = harness.attempt(id).await;
        assert_eq!(row.outcome(), ("pending", Some("unproven_end")), "{id}: {:?}", row.error_message);
        harness.assert_nothing(id).await;
        harness.attempt(id).await;
        harness.assert_stored(id, &file).await;
        assert_eq!(origin.offsets(), [0, 0, 0, 0], "{id}: each attempt reads twice");
    }
}

#[sqlx::test]
async fn a_body_that_only_the_connection_ends_is_read_once_if_a_hash_proves_it(pool: PgPool) {
    let file = noise(200_000, 15);
    let crc = BASE64_STANDARD.encode(crc32c::crc32c(&file).to_be_bytes());
    let origin = Origin::start(file.clone()).await;
    let hashed = Step { length: Length::Closing, ..Step::default() }.with("x-goog-hash", format!("crc32c={crc}"));
    origin.always(hashed.clone());
    origin.next([Step { cut: Some(100_000), ..hashed }]);
    let harness = Harness::folder(&pool);
    harness.queue("hashed", origin.url("a.mp4")).await;
    assert_eq!(harness.attempt("hashed").await.outcome(), ("pending", Some("wrong_hash")));
    harness.attempt("hashed").await;
    harness.assert_stored("hashed", &file).await;
    assert_eq!(origin.requests().len(), 2);
}

#[sqlx::test]
async fn over_tls_an_end_without_close_notify_stores_nothing_however_often_it_is_the_same(pool: PgPool) {
    let half = 100_000;
    for (ending, archive) in [(Ending::Abrupt, "pending"), (Ending::CloseNotify, "stored")] {
        let file = noise(200_000, 16);
        let origin = Origin::start(file.clone()).await;
        // Two reads agree, so only TLS says whether the end is one.
        origin.always(Step { length: Length::Closing, cut: Some(half), ..Step::default() });
        let (front, folder) = (TlsFront::start(origin.address(), ending).await, TempDir::new().unwrap());
        let mut command = serve(&database_url(&pool), &folder);
        command.env("SSL_CERT_FILE", front.certificate());
        let service = Service::start(command).await;
        let id = format!("{ending:?}").to_lowercase();
        let mut project = video(&id, "complete");
        project.downloads.push(front.url(&origin.url("a.mp4")));
        let delivery = signed(&project.event("video.completed"));
        assert_eq!(delivery.post(&service.client, &service.at("webhook")).await.unwrap().status, 200);
        let render = until("the first attempt to end", || async {
            let (_, render) = service.get(&format!("renders/{id}")).await;
            let download = &render["downloads"][0];
            (download["state"] == "stored" || !download["error"].is_null()).then_some(render)
        })
        .await;
        let download = &render["downloads"][0];
        assert_eq!(render["archive"], archive, "{render}");
        match ending {
            Ending::Abrupt => assert_eq!(download["error"]["code"], "broken_off", "{render}"),
            Ending::CloseNotify => assert_eq!(download["size_bytes"], half, "{render}"),
        }
        service.stop().await;
    }
}
