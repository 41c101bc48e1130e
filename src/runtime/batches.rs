//! Batches without delay: what arrives while batches are in flight forms the next one.
//!
//! An idle service processes each item at once. Under load, one round trip serves many items.

use std::sync::Arc;

use tokio::sync::mpsc::Receiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How large batches get, and how many are in flight.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// How many items a batch takes.
    pub items: usize,
    /// How much a batch weighs at most, not counting its last item.
    pub weight: usize,
    /// How many batches are in flight at once.
    pub in_flight: usize,
}

/// The place of a batch in flight. The next batch forms once it is dropped.
#[derive(Debug)]
pub struct BatchPlace(#[expect(dead_code, reason = "its drop frees the place")] OwnedSemaphorePermit);

/// Forms batches of what is `waiting`, and starts to `process` each, until there is no sender left.
pub async fn form_batches<T, F>(
    mut waiting: Receiver<T>,
    limits: BatchLimits,
    weigh: impl Fn(&T) -> usize,
    process: impl Fn(Vec<T>, BatchPlace) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.in_flight));
    // OK because the semaphore is never closed. The place comes first: what arrives until there is one joins the batch.
    while let Ok(place) = places.clone().acquire_owned().await {
        let Some(first) = waiting.recv().await else { return };
        let mut weight = weigh(&first);
        let mut batch = vec![first];
        while batch.len() < limits.items
            && weight < limits.weight
            && let Ok(item) = waiting.try_recv()
        {
            weight += weigh(&item);
            batch.push(item);
        }
        tokio::spawn(process(batch, BatchPlace(place)));
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    /// Sends these weights while one batch is in flight, and returns the batches that formed.
    async fn batches(limits: BatchLimits, weights: &[usize]) -> Vec<Vec<usize>> {
        let (sender, waiting) = mpsc::channel(100);
        let (formed, mut batches) = mpsc::unbounded_channel();
        let process = move |batch, place| {
            let formed = formed.clone();
            async move { formed.send((batch, place)).unwrap() }
        };
        tokio::spawn(form_batches(waiting, limits, |weight| *weight, process));
        sender.send(0).await.unwrap();
        let (first, mut place) = batches.recv().await.unwrap();
        assert_eq!(first, [0], "an idle service waits for nothing");
        for weight in weights {
            sender.send(*weight).await.unwrap();
        }
        drop(sender);
        let mut all = Vec::new();
        loop {
            assert!(batches.try_recv().is_err(), "the limit of batches in flight is kept");
            drop(place);
            let Some((batch, next)) = batches.recv().await else { return all };
            all.push(batch);
            place = next;
        }
    }

    #[tokio::test]
    async fn what_arrives_while_a_batch_is_in_flight_forms_the_next_one() {
        let limits = BatchLimits { items: 3, weight: 100, in_flight: 1 };
        assert_eq!(batches(limits, &[1, 2]).await, [vec![1, 2]]);
        assert_eq!(batches(limits, &[1, 2, 3, 4]).await, [vec![1, 2, 3], vec![4]]);
        assert_eq!(batches(limits, &[60, 50, 1]).await, [vec![60, 50], vec![1]]);
        assert_eq!(batches(limits, &[1000, 1]).await, [vec![1000], vec![1]]);
    }
}
