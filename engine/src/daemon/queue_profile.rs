//! What the configuration says about a queue, as the shards take it.

use crate::limit::{Rate, VolumeRate};
use crate::queue::{AdaptiveTerms, QueueSettings, SourceRules};
use crate::route::{Host, HostList, HostSpec};
use crate::shard::{BackoffProfile, Delivery, QueueProfile, ReplyRules};
use crate::smtp::client::{StartTls, Timeouts};
use crate::smtp::verdict::VerdictOptions;
use ipnet::IpNet;
use std::sync::Arc;
use std::time::Duration;
use vmta_config::{DeliveryType, DomainSettings, MailHost, NoMx};

/// Backoff never opens more connections than there would be without it.
fn in_backoff(settings: &DomainSettings, normal: &QueueSettings) -> QueueSettings {
    QueueSettings {
        max_smtp_out: settings.backoff_max_smtp_out.min(normal.max_smtp_out),
        max_msg_rate: settings.backoff_max_msg_rate.map_or(normal.max_msg_rate, rate),
        max_connect_rate: settings.backoff_max_connect_rate.map_or(normal.max_connect_rate, rate),
        max_data_volume_rate: settings
            .backoff_max_data_volume_rate
            .map_or(normal.max_data_volume_rate, volume),
        retry_after: settings.backoff_retry_after.clone(),
        ..normal.clone()
    }
}

/// A floor without limit is what is configured: nothing is ever eased.
fn adaptive(settings: &DomainSettings) -> Option<AdaptiveTerms> {
    let floor = rate(settings.adaptive_rate_floor).filter(|_| settings.adaptive_rate)?;
    Some(AdaptiveTerms { floor, step_up_interval: settings.adaptive_rate_step_up_interval })
}

fn timeouts(settings: &DomainSettings) -> Timeouts {
    Timeouts {
        greeting: settings.smtp_greeting_timeout,
        block: settings.data_send_timeout,
        end: settings.smtp_data_termination_timeout,
        idle: settings.connection_idle_timeout.max(KEEP_FOR_RATE),
        ..Timeouts::default()
    }
}

pub(super) fn queue_profile(settings: &DomainSettings, replies: Option<Arc<dyn ReplyRules>>) -> QueueProfile {
    let scheduling = QueueSettings {
        max_smtp_out: settings.max_smtp_out,
        max_msg_rate: rate(settings.max_msg_rate),
        max_data_volume_rate: volume(settings.max_data_volume_rate),
        max_connect_rate: rate(settings.max_connect_rate),
        smtp_out_rampup: settings.smtp_out_rampup_interval,
        max_msg_per_connection: settings.max_msg_per_connection.unwrap_or(0),
        max_rcpt_per_message: settings.max_rcpt_per_message.unwrap_or(0),
        retry_after: settings.retry_after.clone(),
        retry_recipients_after: settings.retry_recipients_after,
        retry_after_dns_error: Some(settings.retry_after_dns_error),
        retry_upon_new_mail: settings.retry_upon_new_mail,
        bounce_after: settings.bounce_after,
        priority: settings.queue_priority.min(100) as u8,
        interruptible: settings.allow_priority_interruption,
        interruptible_at_once: settings.allow_priority_interruption_during_transfer,
    };
    let backoff = BackoffProfile {
        scheduling: Arc::new(in_backoff(settings, &scheduling)),
        to_normal_after: settings.backoff_to_normal_after,
        to_normal_after_delivery: settings.backoff_to_normal_after_delivery,
        upon_all_sources_disabled: settings.backoff_upon_all_sources_disabled,
    };
    QueueProfile {
        scheduling: Arc::new(scheduling),
        backoff,
        adaptive: adaptive(settings),
        per_source: Arc::new(source_rules(settings)),
        replies,
        reenable_source_after: settings.reenable_source_ip_after,
        delivery: match settings.delivery {
            DeliveryType::Discard => Delivery::Discard,
            _ => Delivery::Smtp,
        },
        hosts: settings.smtp_hosts.as_ref().map(|route| Arc::new(host_list(route))),
        port: settings.default_smtp_port,
        attempts: settings.mx_connection_attempts as usize,
        bounce_upon_no_mx: match settings.bounce_upon_no_mx {
            NoMx::Never => None,
            NoMx::AtOnce => Some(Duration::ZERO),
            NoMx::After(age) => Some(age),
        },
        connect_timeout: settings.connect_timeout,
        timeouts: timeouts(settings),
        starttls: match (settings.require_starttls, settings.use_starttls) {
            (true, _) => StartTls::Required,
            (false, true) => StartTls::Opportunistic,
            (false, false) => StartTls::Off,
        },
        ignore_8bitmime: settings.ignore_8bitmime,
        ignore_chunking: settings.ignore_chunking,
        ignore_pipelining: settings.ignore_pipelining,
        ignore_dsn: settings.ignore_dsn,
        reports: settings.deliver_local_dsn,
        notify_of_delay_every: settings.notify_of_delay_every,
        pipeline_across_data: settings.pipeline_across_data,
        prefer_chunking: settings.prefer_chunking,
        idle_timeout: settings.connection_idle_timeout,
        verdict: verdict_options(settings),
        max_errors_per_connection: settings.max_errors_per_connection,
        remove_headers: settings.remove_headers.as_deref().unwrap_or_default().into(),
    }
}

fn source_rules(settings: &DomainSettings) -> SourceRules {
    SourceRules {
        max_smtp_out: settings.source_ip_max_smtp_out.clone(),
        max_connect_rate: rates(&settings.source_ip_max_connect_rate),
        max_msg_rate: rates(&settings.source_ip_max_msg_rate),
        max_data_volume_rate: {
            let volumes = settings.source_ip_max_data_volume_rate.iter();
            volumes.map(|(network, limit)| (*network, volume(*limit))).collect()
        },
    }
}

fn rates(limits: &[(IpNet, vmta_config::Rate)]) -> Vec<(IpNet, Option<Rate>)> {
    limits.iter().map(|(network, limit)| (*network, rate(*limit))).collect()
}

fn verdict_options(settings: &DomainSettings) -> VerdictOptions {
    VerdictOptions {
        mx_unavailable_on_421: settings.smtp_421_means_mx_unavailable,
        bounce_upon_5xx_greeting: settings.bounce_upon_5xx_greeting,
        mailbox_valid_on_553: !settings.smtp_553_means_invalid_mailbox,
        ..VerdictOptions::default()
    }
}

/// A connection that waits for its queue's rate is idle for up to half a minute.
const KEEP_FOR_RATE: Duration = Duration::from_secs(40);

pub(super) fn rate(rate: vmta_config::Rate) -> Option<Rate> {
    match rate {
        vmta_config::Rate::Unlimited => None,
        vmta_config::Rate::Per { count, per } => Some(Rate { count, per }),
    }
}

pub(super) fn volume(rate: vmta_config::VolumeRate) -> Option<VolumeRate> {
    match rate {
        vmta_config::VolumeRate::Unlimited => None,
        vmta_config::VolumeRate::Per { bytes, per } => Some(VolumeRate { bytes, per }),
    }
}

fn host_list(route: &vmta_config::Route) -> HostList {
    let hosts = route.groups.iter().enumerate().flat_map(|(preference, group)| {
        group.iter().map(move |host| Host {
            preference: preference as u16,
            host: match &host.host {
                MailHost::Address(address) => HostSpec::Address(*address),
                MailHost::Name(name) => HostSpec::Name(name.to_ascii_lowercase().into()),
                MailHost::LookupMx(domain) => HostSpec::LookupMx(domain.to_ascii_lowercase().into()),
            },
            port: host.port,
        })
    });
    HostList { hosts: hosts.collect() }
}
