//! `rewrite-list`: lists of the configuration, as the core asks them.

use crate::mail::rewrite::Rewrites;
use crate::spool::record::AtDelivery;
use std::sync::Arc;
use vmta_config::{RewriteList, SourceSettings};

#[derive(Debug)]
struct Listed(Arc<RewriteList>);

impl Rewrites for Listed {
    fn sender(&self, sender: &str) -> Option<String> {
        self.0.sender(sender)
    }

    fn from_domain(&self, domain: &str) -> Option<String> {
        self.0.from_domain(domain).map(str::to_owned)
    }
}

pub fn by_list(list: &Arc<RewriteList>) -> Arc<dyn Rewrites> {
    Arc::new(Listed(list.clone()))
}

/// What a source has done to its messages as they are delivered.
pub fn at_delivery(source: &SourceSettings) -> AtDelivery {
    AtDelivery { rewrite_list: source.rewrite_list.clone().unwrap_or_default() }
}
