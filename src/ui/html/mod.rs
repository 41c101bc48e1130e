//! The parts that pages are made of.

mod badge;
mod choice;
mod figures;
mod icons;
mod page;
mod pager;
mod path;
mod time;

pub(super) use self::badge::{
    Tone, archive_badge, badge, download_badge, notification_badge, outcome_badge, status_badge,
};
pub(super) use self::choice::choice;
pub(super) use self::figures::{bytes, count, plural};
pub(super) use self::icons::{Icon, icon, mark};
pub(super) use self::page::{Section, UiPage};
pub(super) use self::pager::pager;
pub(super) use self::path::{Query, delivery_path, render_path};
pub(super) use self::time::{lag, until, when};
