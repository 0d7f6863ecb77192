//! `rewrite-list`: lists of the configuration, as the core asks them.

use crate::mail::rewrite::Rewrites;
use std::sync::Arc;
use vmta_config::RewriteList;

#[derive(Debug)]
struct Listed(Arc<RewriteList>);

impl Rewrites for Listed {
    fn sender(&self, sender: &str) -> Option<String> {
        self.0.sender(sender)
    }

    fn domain(&self, domain: &str) -> Option<String> {
        self.0.domain(domain).map(str::to_owned)
    }
}

pub fn by_list(list: &Arc<RewriteList>) -> Arc<dyn Rewrites> {
    Arc::new(Listed(list.clone()))
}
