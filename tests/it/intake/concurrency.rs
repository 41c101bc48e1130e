//! Concurrent recording. A batch is one transaction.

use std::collections::HashMap;

use futures::future::join_all;
use renderhook::domain::Status::{Complete, Rendering};
use renderhook::intake::{self, RecordOutcome, RecordRules, StatusChange};
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;

use crate::support::observations::{at, completed, connections, counts, history, now, record, status_report};
use crate::support::round_trips::RoundTripCounter;

#[sqlx::test]
async fn fifty_concurrent_deliveries_of_one_event_are_recorded_once(pool: PgPool) {
    // Two processes with four connections each.
    let pools = [connections(&pool, 4), connections(&pool, 4)];
    for round in 0..10 {
        let id = format!("render-{round}");
        let word = completed(&id, &["https://files.example/a.mp4", "https://files.example/b.mp4"], None, at(1));
        let mut calls = JoinSet::new();
        for pool in pools.iter().cycle().take(50) {
            let (pool, word) = (pool.clone(), [word.clone()]);
            calls.spawn(async move { intake::record(&pool, now(), &word, &RecordRules::default()).await.unwrap()[0] });
        }
        let recorded = calls.join_all().await;
        let mut outcomes = HashMap::new();
        for it in &recorded {
            *outcomes.entry(format!("{:?}", it.outcome)).or_insert(0) += 1;
        }
        assert_eq!(outcomes, HashMap::from([("Recorded".to_owned(), 1), ("Duplicate".to_owned(), 49)]));
        let moves: Vec<_> = recorded.iter().filter_map(|it| it.transition).collect();
        assert_eq!(moves, [StatusChange { from: None, to: Complete }]);
        assert_eq!(recorded.iter().map(|it| it.queued).sum::<i64>(), 2);
        assert_eq!(history(&pool, &id).await, [(None, Complete)]);
    }
    assert_eq!(counts(&pool).await, (10, 10, 500, 20));
}

#[sqlx::test]
async fn concurrent_start_and_completion_leave_consistent_transitions(pool: PgPool) {
    let pools = [connections(&pool, 2), connections(&pool, 2)];
    let rules = RecordRules::default();
    for round in 0..50 {
        let id = format!("render-{round}");
        let observations = [status_report(&id, Some(Rendering), at(1)), status_report(&id, Some(Complete), at(2))];
        let calls = observations
            .iter()
            .cycle()
            .take(6)
            .zip(pools.iter().cycle())
            .map(|(word, pool)| intake::record(pool, now(), std::slice::from_ref(word), &rules));
        join_all(calls).await.into_iter().for_each(|recorded| drop(recorded.unwrap()));
        let history = history(&pool, &id).await;
        let short = vec![(None, Complete)];
        let long = vec![(None, Rendering), (Some(Rendering), Complete)];
        assert!(history == short || history == long, "{id}: {history:?}");
    }
}

#[sqlx::test]
async fn overlapping_batches_in_opposite_orders_do_not_deadlock(pool: PgPool) {
    let pools = [connections(&pool, 4), connections(&pool, 4)];
    for round in 0..40 {
        // In each round, half of them are new, and the others exist.
        let ids: Vec<_> = (0..12).map(|n| format!("{:04}", round * 6 + n)).collect();
        let forwards: Vec<_> =
            ids.iter().map(|id| completed(id, &["https://files.example/a.mp4"], None, at(round))).collect();
        let batches = (0..8usize).map(|task| {
            let mut batch = forwards.clone();
            batch.rotate_left(task % 5);
            if task % 2 == 1 {
                batch.reverse();
            }
            batch.truncate(12 - task % 3);
            batch
        });
        let mut calls = JoinSet::new();
        for (batch, pool) in batches.zip(pools.iter().cycle().cloned()) {
            calls.spawn(async move { intake::record(&pool, now(), &batch, &RecordRules::default()).await });
        }
        for recorded in calls.join_all().await {
            recorded.unwrap();
        }
    }
    let renders = 40 * 6 + 6;
    assert_eq!(counts(&pool).await, (renders, renders, 40 * (12 + 11 + 10 + 12 + 11 + 10 + 12 + 11), renders));
}

#[sqlx::test]
async fn a_batch_is_recorded_completely_or_not_at_all(pool: PgPool) {
    let good = completed("good", &["https://files.example/a.mp4"], None, at(1));
    let later = status_report("later", Some(Rendering), at(2));
    // A constraint on one table after the other rejects the row of one of three observations.
    for refused in [
        "ALTER TABLE renders ADD CONSTRAINT refused CHECK (id <> 'later')",
        "ALTER TABLE transitions ADD CONSTRAINT refused CHECK (render_id <> 'later')",
        "ALTER TABLE deliveries ADD CONSTRAINT refused CHECK (render_id <> 'later')",
        "ALTER TABLE downloads ADD CONSTRAINT refused CHECK (render_id <> 'good')",
    ] {
        let mut one = pool.acquire().await.unwrap();
        sqlx::query(refused).execute(&mut *one).await.unwrap();
        let error = intake::record(&pool, now(), &[good.clone(), later.clone(), good.clone()], &RecordRules::default())
            .await
            .unwrap_err();
        let constraint = error.into_database_error().and_then(|error| error.constraint().map(str::to_owned));
        assert_eq!(constraint.as_deref(), Some("refused"), "{refused}");
        assert_eq!(counts(&pool).await, (0, 0, 0, 0), "{refused}");
        let table = refused.split(' ').nth(2).unwrap();
        let again = format!("ALTER TABLE {table} DROP CONSTRAINT refused");
        sqlx::query(sqlx::AssertSqlSafe(again)).execute(&mut *one).await.unwrap();
    }
    let recorded = record(&pool, &[good.clone(), later, good]).await;
    let outcomes: Vec<_> = recorded.iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [RecordOutcome::Recorded, RecordOutcome::Recorded, RecordOutcome::Duplicate]);
    assert_eq!(counts(&pool).await, (2, 2, 3, 1));
}

#[sqlx::test]
async fn a_batch_of_any_size_takes_five_round_trips(pool: PgPool) {
    let proxy = RoundTripCounter::start(&pool.connect_options());
    let counted =
        PgPoolOptions::new().max_connections(1).connect_with(proxy.options(&pool.connect_options())).await.unwrap();
    // The first use of a connection prepares the statements.
    record(&counted, &[completed("first", &["https://files.example/a.mp4"], None, at(1))]).await;
    for count in [1, 2, 50] {
        let observations: Vec<_> = (0..count)
            .map(|n| completed(&format!("{count}-{n}"), &["https://files.example/a.mp4"], None, at(1)))
            .collect();
        let before = proxy.round_trips();
        record(&counted, &observations).await;
        // BEGIN, lock and read, write, totals and feed, COMMIT.
        assert_eq!(proxy.round_trips() - before, 5, "{count} events");
    }
    // Checks that the proxy counts: this statement is prepared, then executed.
    let before = proxy.round_trips();
    sqlx::query("SELECT $1").bind(json!(1)).persistent(false).execute(&counted).await.unwrap();
    assert_eq!(proxy.round_trips() - before, 2);
}
