//! What a render looks like from outside: one type, [`RenderView`], for answers, lists, notifications, and streams.
//!
//! Each read is one round trip, however many renders, downloads, and transitions it returns: all of them use one
//! statement, `select_renders!`. [`Overview`] shows all renders at once.

mod delivery;
mod event;
mod list;
mod many;
mod one;
mod overview;
mod reader;
mod row;
mod shown;
mod view;

pub use self::delivery::{DeliveryBodyView, DeliveryFilter, DeliveryPage, DeliveryView, deliveries, delivery};
pub use self::event::EventView;
pub use self::list::{InvalidListCursor, ListCursor, ListFilter, RenderPage, list};
pub use self::many::renders;
pub use self::one::exists;
pub use self::overview::{LatestError, Overview, UrgentDownload};
pub use self::reader::RenderReader;
pub use self::row::{file_path, segment};
pub use self::view::RenderView;
pub(crate) use self::view::{CreditsView, DownloadView, NotificationView, TransferProgress, TransitionView};
