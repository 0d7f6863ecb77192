//! How routes are found: the rules for what a stranger's DNS may lead to, and the resolver that asks it. A reload changes
//! both.

use super::profiles::Configured;
use crate::io::resolver::{Resolver, ResolverError};
use crate::route::RoutePolicy;
use arc_swap::ArcSwap;
use std::net::SocketAddr;
use std::sync::Arc;

/// What is in effect.
pub struct Routing {
    asked: ArcSwap<Asked>,
    resolver: Arc<ArcSwap<Resolver>>,
}

/// Who is asked, and by which rules the answers count.
struct Asked {
    servers: Vec<SocketAddr>,
    policy: Arc<RoutePolicy>,
}

/// What a new configuration changes.
pub struct Change {
    asked: Asked,
    resolver: Resolver,
}

impl Routing {
    /// To be called within the control runtime.
    pub fn new(configured: &Configured) -> Result<Routing, ResolverError> {
        let asked = asked(configured, fastrand::u64(..));
        let resolver = Resolver::new(&asked.servers, asked.policy.clone())?;
        let resolver = Arc::new(ArcSwap::from_pointee(resolver));
        Ok(Routing { asked: ArcSwap::from_pointee(asked), resolver })
    }

    pub fn policy(&self) -> Arc<RoutePolicy> {
        self.asked.load().policy.clone()
    }

    /// The resolver in use.
    pub fn resolver(&self) -> &Arc<ArcSwap<Resolver>> {
        &self.resolver
    }

    /// None where nothing differs: then what is known from DNS is kept. To be called within the control runtime.
    pub fn change(&self, configured: &Configured) -> Result<Option<Change>, ResolverError> {
        let now = self.asked.load();
        let asked = asked(configured, now.policy.seed);
        if asked.servers == now.servers && asked.policy == now.policy {
            return Ok(None);
        }
        let resolver = Resolver::new(&asked.servers, asked.policy.clone())?;
        Ok(Some(Change { asked, resolver }))
    }

    /// Gives the rules that the shards are to take.
    pub fn apply(&self, change: Change) -> Arc<RoutePolicy> {
        let policy = change.asked.policy.clone();
        self.asked.store(Arc::new(change.asked));
        self.resolver.store(Arc::new(change.resolver));
        policy
    }
}

fn asked(configured: &Configured, seed: u64) -> Asked {
    let servers = configured.config.global().name_servers.iter().map(|ip| SocketAddr::new(*ip, 53));
    Asked { servers: servers.collect(), policy: Arc::new(configured.route_policy(seed)) }
}
