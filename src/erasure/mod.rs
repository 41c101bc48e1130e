//! Erases renders: `DELETE /renders/{id}` and `FILE_RETENTION`.
//!
//! [`request_erasure`] removes from the database what describes the render, all in one transaction, and leaves a job and a
//! tombstone. [`Eraser`] then deletes the objects and, if that was asked for, the project at Magic Hour.
//! [`watch_file_retention`] requests the erasure of renders whose files are old.
//!
//! The order is such that a crash between any two steps leaves no object that nothing remembers:
//! 1. One transaction marks the render, so that no event, poll, or announcement adds anything; takes the leases of its
//!    downloads, so that no worker settles; removes its name, metadata, URLs, errors, and the bodies of its deliveries; and
//!    writes the job. The keys of the objects and the partial uploads stay.
//! 2. Each partial upload is aborted, then each object is deleted. Both can be repeated.
//! 3. If a worker had a lease in step 1, a request that it had sent may still create an object. So step 2 is repeated after
//!    the time in which that is possible ([`SWEEP_DELAY`]).
//! 4. One transaction removes the keys and sets `erased_at`.
//! 5. The job is removed.
//!
//! If that was asked for, each attempt also tries to delete the project at Magic Hour, until it is gone: neither the store
//! nor Magic Hour delays the other. Only the project's own account can say that it is gone.

mod eraser;
mod objects;
mod queue;
mod request;
mod retention;
mod upstream;

pub use self::eraser::Eraser;
pub use self::request::{ERASED_DOWNLOAD, ErasureProgress, ErasureSource, SWEEP_DELAY, request_erasure};
pub use self::retention::watch_file_retention;
