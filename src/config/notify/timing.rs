//! When alerts are sent: the same keys in `[notify]` and, for one channel, in its table.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::super::table::{Item, Table};
use super::super::{quantity, values};
use crate::model::notify::{RateLimit, Timing};

/// More reminders of one incident help nobody.
const REMINDERS_MAX: usize = 20;

/// What the table says, and `base` where it says nothing.
pub fn read(table: &mut Table<'_>, base: &Timing) -> Timing {
    Timing {
        group_wait: table.take("group_wait", quantity::duration).or_default(base.group_wait),
        group_interval: table.take("group_interval", quantity::duration).or_default(base.group_interval),
        recovery_after: table.take("recovery_after", quantity::duration).or_default(base.recovery_after),
        remind_after: table.take("remind_after", reminders).or_default(base.remind_after.clone()),
        flap_count: table.take("flap_count", |item| values::integer(item, 2..=1000)).or_default(base.flap_count),
        flap_window: table.take("flap_window", longer_than_nothing).or_default(base.flap_window),
        flap_clear: table.take("flap_clear", longer_than_nothing).or_default(base.flap_clear),
        rate_limit: table.take("rate_limit", |item| rate_limit(item, base.rate_limit)).or_default(base.rate_limit),
        stale_after: table.take("stale_after", longer_than_nothing).or_default(base.stale_after),
    }
}

pub fn longer_than_nothing(item: Item<'_>) -> Option<Duration> {
    match quantity::duration(item)? {
        Duration::ZERO => item.refuse(format!("`{}` is longer than nothing", item.key)),
        duration => Some(duration),
    }
}

/// One or more times after the first message, each later than the one before; `[]` is none.
fn reminders(item: Item<'_>) -> Option<Vec<Duration>> {
    let items = item.list().unwrap_or_else(|| vec![item]);
    if items.len() > REMINDERS_MAX {
        return item.refuse(format!("`remind_after` has at most {REMINDERS_MAX} times"));
    }
    let times = values::all(items, longer_than_nothing)?;
    if !times.is_sorted_by(|earlier, later| earlier < later) {
        return item.refuse_with(
            "each time of `remind_after` is later than the one before",
            "they all count from the first message: [\"30m\", \"4h\", \"24h\"]",
        );
    }
    Some(times)
}

fn rate_limit(item: Item<'_>, base: RateLimit) -> Option<RateLimit> {
    let mut table = item.table("in `rate_limit`")?;
    let limit = RateLimit {
        burst: table.take("burst", |item| values::integer(item, 1..=1000)).or_default(base.burst),
        interval: table.take("interval", longer_than_nothing).or_default(base.interval),
    };
    table.finish();
    Some(limit)
}
