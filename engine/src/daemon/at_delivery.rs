//! What a `<source>` has done to its messages as they are delivered.

use crate::spool::record::AtDelivery;
use vmta_config::{AddDate, DateTime, SourceSettings};

/// Of messages that come finished.
pub fn of_finished(source: &SourceSettings) -> AtDelivery {
    AtDelivery { date: source.add_date_header != AddDate::No && dated(source), ..of_merged(source) }
}

/// Of messages made from templates, which always get a Date header.
pub fn of_template(source: &SourceSettings) -> AtDelivery {
    AtDelivery { date: dated(source), ..of_merged(source) }
}

/// Of messages merged over SMTP or from batch SMTP, which get none.
pub fn of_merged(source: &SourceSettings) -> AtDelivery {
    AtDelivery { rewrite_list: source.rewrite_list.clone().unwrap_or_default(), ..AtDelivery::default() }
}

/// Whether a Date header that is added has the time of the delivery.
pub fn dated(source: &SourceSettings) -> bool {
    source.date_header_time == DateTime::Delivery
}
