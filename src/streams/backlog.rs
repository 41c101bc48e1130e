//! What a stream reads from the database, because it happened before the hub could pass it on.

use super::hub::Hub;
use super::reader::{EventPage, PageLimit, ReadError};
use crate::domain::RenderId;
use crate::feed::{FeedCursor, FeedFilter};
use crate::views::RenderView;

/// How much is read from the database at once, which is what a stream holds at most beside what all share.
const BACKLOG_PAGE: PageLimit = PageLimit { events: 32, weight: 400 };

/// What a stream reads from the database.
pub(super) struct BacklogPage {
    pub(super) page: EventPage,
    /// Whether the stream's only render was finished before the page was read, so that the feed's end is its end.
    pub(super) is_render_finished: bool,
}

impl Hub {
    /// Reads a page of what a stream has not sent yet. At most a few streams do so at a time.
    pub(super) async fn read_backlog(
        &self,
        filter: &FeedFilter,
        after: Option<FeedCursor>,
    ) -> Result<BacklogPage, ReadError> {
        // Never fails: the semaphore is not closed.
        let _permit = self.readers.acquire().await;
        let is_render_finished = match &filter.render {
            None => false,
            Some(render) => self.is_finished(render).await?,
        };
        let page = self.reader.page(filter, after, BACKLOG_PAGE).await?;
        Ok(BacklogPage { page, is_render_finished })
    }

    async fn is_finished(&self, render: &RenderId) -> Result<bool, ReadError> {
        let renders = self.reader.renders([render.as_str()].into()).await?;
        Ok(renders.get(render.as_str()).is_some_and(RenderView::is_finished))
    }
}
