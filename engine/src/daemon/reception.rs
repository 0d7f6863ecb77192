//! How many SMTP clients are served at once, and how one that comes is received: by its `<source>`, the listener and the
//! group it belongs to.

use super::profiles::Configured;
use crate::io::smtp_listener::Reception;
use crate::io::smtp_places::{Clients, GroupLimits, Limits};
use crate::smtp::server::{ServerOptions, Told};
use std::sync::Arc;
use vmta_config::{Config, ListenerSettings, SourceSettings};

/// Sessions of one client address (reliability 1.3).
const MAX_PER_CLIENT: usize = 50;

/// Room for sessions, over all listeners.
pub fn clients(config: &Config) -> Arc<Clients> {
    Clients::new(limits(config), MAX_PER_CLIENT)
}

/// What the configuration allows in all and to each `<source-group>`.
pub fn limits(config: &Config) -> Limits {
    let groups = config.source_groups().iter().map(|group| {
        let max = group.settings.max_smtp_in.map(|n| n as usize);
        let reserved = group.settings.reserved_smtp_in.map_or(0, |n| n as usize);
        (group.name.as_str().into(), GroupLimits { max, reserved })
    });
    Limits { total: config.global().total_max_smtp_in as usize, groups: groups.collect() }
}

/// How a client with these settings is received.
pub fn reception(
    settings: &SourceSettings,
    options: &Arc<ServerOptions>,
    listener: &ListenerSettings,
    configured: &Configured,
) -> Reception {
    Reception {
        options: options.clone(),
        served: settings.smtp_service,
        tls_at_once: listener.immediate_tls,
        group: settings.source_group.as_deref().map(Arc::from),
        awaits_place: listener.await_slot || configured.config.global().smtp_await_slot,
        proxied: settings.require_proxy_protocol,
        told: settings.log_connections,
    }
}

/// What the log is told of a client's session.
pub fn told(settings: &SourceSettings) -> Told {
    Told { commands: settings.log_commands, data: settings.log_data, tls: settings.log_tls }
}
