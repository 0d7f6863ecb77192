//! The typed settings of each scope. Every field names its directive; defaults are those of the table.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::scope::Scope;
pub use crate::settings_values::{
    AddDate, Authentication, Certificate, DateTime, DeleteAfter, DeliveryType, DsnFormat, DsnReturn, NoMx,
    RuntimeChoice,
};
use crate::slots::{NameLists, Slots};
use crate::value::{
    DomainPattern, FieldSelection, HeaderField, QueueFilter, Rate, RecordType, ReportTemplate, Route,
    SourceHost, VolumeRate,
};

/// A struct whose fields are read from directives of one scope.
macro_rules! settings {
    ($(#[$about:meta])* $name:ident of $scope:expr, { $($(#[$doc:meta])* $field:ident: $type:ty = $directive:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)+
        }

        impl $name {
            #[cfg(test)]
            pub(crate) const DIRECTIVES: &[&str] = &[$($directive),+];

            pub(crate) fn read(slots: &Slots) -> $name {
                $name { $($field: slots.read($scope, $directive),)+ }
            }
        }
    };
}

settings! {
    /// Directives of the top level that the engine uses. Listeners, spools and accounting files have accessors of
    /// their own on `Config`, since they are tags too.
    Global of Scope::Global, {
        /// Names of this host, the first is the main one. Empty: the name the operating system gives.
        host_names: Vec<String> = "host-name",
        /// Resolvers, used in turn. Empty: those of the operating system.
        name_servers: Vec<IpAddr> = "name-server",
        log_file: Option<String> = "log-file",
        /// Whoever gets the mail to the [`ROLES`] of this host.
        postmaster: Vec<String> = "postmaster",
        /// The pickup directory and the one for bad files.
        pickup: Option<(String, String)> = "pickup",
        pickup_remove_dot: bool = "pickup-remove-dot",
        total_max_smtp_out: u32 = "total-max-smtp-out",
        /// Connections to each host whose name fits, from each source address.
        mx_connection_limits: Vec<(DomainPattern, u32)> = "mx-connection-limit",
        /// Connections to each address of the network, from each source address.
        ip_connection_limits: Vec<(IpNet, u32)> = "ip-connection-limit",
        total_max_smtp_in: u32 = "total-max-smtp-in",
        /// Clients wait for a free place instead of being told that there is none.
        smtp_await_slot: bool = "smtp-await-slot",
        /// Source addresses of virtual MTAs that have none of their own, and of `{default}`.
        source_hosts: Vec<SourceHost> = "smtp-source-host",
        /// Appended to envelope addresses whose domain has no dot.
        domain_suffix: Option<String> = "domain-suffix",
        /// Variables of a merged message that are not defined become empty; else they stay as they are.
        mailmerge_expands_undefined_variables: bool = "mailmerge-expands-undefined-variables",
        /// Domains whose mail is accepted from anybody; see `Config::relays`.
        relay_domains: Vec<DomainPattern> = "relay-domain",
        /// 0 is off.
        http_mgmt_port: u16 = "http-mgmt-port",
        /// Most recipients in all spools; `None` is automatic.
        spool_max_recipients: Option<u64> = "spool-max-recipients",
        runtime: RuntimeChoice = "runtime",
        /// Shards; `None` is one per core.
        threads: Option<u32> = "threads",
        control_socket: Option<String> = "control-socket",
        /// Directory for campaign reports.
        reports: Option<String> = "reports",
        /// Private and loopback addresses that DNS answers may lead to.
        allow_destinations: Vec<IpNet> = "allow-destination",
        /// Bytes past which no mail is taken; `None` is automatic.
        memory_soft_limit: Option<u64> = "memory-soft-limit",
        /// Where that is automatic: the part of the machine's memory; 100 is no limit.
        max_memory_usage_percent: u32 = "max-memory-usage-percent",
        /// Whoever may not relay is answered with 4xx.
        relay_debug: bool = "relay-debug",
        /// Where messages go that name an unknown virtual MTA, if they are not refused.
        invalid_virtual_mta_fallback: Option<String> = "invalid-virtual-mta-fallback",
        /// Goes into Message-IDs, to keep servers of one name apart.
        host_id: u32 = "host-id",
        /// Bytes of a spool segment.
        segment_size: u64 = "segment-size",
        /// The From field of delivery reports.
        custom_dsn_from_header: Option<String> = "custom-dsn-from-header",
        /// The same of those of failures.
        dsn_failed_from: Option<ReportTemplate> = "dsn-failed-from-template",
        dsn_failed_subject: Option<ReportTemplate> = "dsn-failed-subject-template",
        /// Shown to SMTP clients on listeners that have none of their own.
        smtp_server_tls_certificate: Option<Certificate> = "smtp-server-tls-certificate",
        /// CAs of the certificates that clients log in with.
        smtp_server_tls_ca_file: Option<String> = "smtp-server-tls-ca-file",
        smtp_server_tls_v1_2: bool = "smtp-server-tls-allow-tlsv1.2",
        smtp_server_tls_v1_3: bool = "smtp-server-tls-allow-tlsv1.3",
        /// Suites under OpenSSL's names, as everywhere.
        smtp_server_tls_ciphers: Option<Vec<&'static str>> = "smtp-server-tls-ciphers",
        smtp_server_tls_ciphers_1_3: Option<Vec<&'static str>> = "smtp-server-tls-v1.3-ciphersuites",
    }
}

settings! {
    /// What applies to one queue: `<domain>` entries merged for its domain and virtual MTA.
    DomainSettings of Scope::Domain, {
        delivery: DeliveryType = "type",
        /// Headers that leave with no message.
        remove_headers: Option<Vec<String>> = "remove-header",
        /// Explicit next hops instead of MX look-up.
        smtp_hosts: Option<Route> = "smtp-hosts",
        default_smtp_port: u16 = "default-smtp-port",
        /// Connections of this queue at once; 0 opens none.
        max_smtp_out: u32 = "max-smtp-out",
        max_connect_rate: Rate = "max-connect-rate",
        /// Least time between two new connections.
        smtp_out_rampup_interval: Duration = "smtp-out-rampup-interval",
        /// Attempted recipients.
        max_msg_rate: Rate = "max-msg-rate",
        /// Delivered bytes.
        max_data_volume_rate: VolumeRate = "max-data-volume-rate",
        /// Of each source address.
        source_ip_max_smtp_out: Vec<(IpNet, u32)> = "source-ip-max-smtp-out",
        source_ip_max_connect_rate: Vec<(IpNet, Rate)> = "source-ip-max-connect-rate",
        source_ip_max_msg_rate: Vec<(IpNet, Rate)> = "source-ip-max-msg-rate",
        source_ip_max_data_volume_rate: Vec<(IpNet, VolumeRate)> = "source-ip-max-data-volume-rate",
        /// 0 to 100; whoever has the higher one gets connections first.
        queue_priority: u32 = "queue-priority",
        allow_priority_interruption: bool = "allow-priority-interruption",
        allow_priority_interruption_during_transfer: bool = "allow-priority-interruption-during-transfer",
        /// Messages on one connection; `None` is no limit.
        max_msg_per_connection: Option<u32> = "max-msg-per-connection",
        /// Recipients in one transaction; `None` is no limit.
        max_rcpt_per_message: Option<u32> = "max-rcpt-per-message",
        /// Recipient errors on one connection before it is dropped; `None` is no limit.
        max_errors_per_connection: Option<u32> = "max-errors-per-connection",
        /// Waits of the queue after failures in a row; never empty, the last one repeats.
        retry_after: Vec<Duration> = "retry-after",
        /// Least wait of one recipient after its own 4xx.
        retry_recipients_after: Duration = "retry-recipients-after",
        bounce_after: Duration = "bounce-after",
        bounce_upon_no_mx: NoMx = "bounce-upon-no-mx",
        bounce_upon_5xx_greeting: bool = "bounce-upon-5xx-greeting",
        smtp_421_means_mx_unavailable: bool = "smtp-421-means-mx-unavailable",
        smtp_553_means_invalid_mailbox: bool = "smtp-553-means-invalid-mailbox",
        /// MX hosts tried per round.
        mx_connection_attempts: u32 = "mx-connection-attempts",
        connect_timeout: Duration = "connect-timeout",
        smtp_greeting_timeout: Duration = "smtp-greeting-timeout",
        data_send_timeout: Duration = "data-send-timeout",
        smtp_data_termination_timeout: Duration = "smtp-data-termination-timeout",
        /// How long an idle connection waits for new mail; at most 10 minutes.
        connection_idle_timeout: Duration = "connection-idle-timeout",
        use_starttls: bool = "use-starttls",
        require_starttls: bool = "require-starttls",
        ignore_8bitmime: bool = "ignore-8bitmime",
        ignore_chunking: bool = "ignore-chunking",
        ignore_dsn: bool = "ignore-dsn",
        /// Delivery reports are made.
        deliver_local_dsn: bool = "deliver-local-dsn",
        dsn_format: DsnFormat = "dsn-format",
        /// Age of mail, and its multiples, at which its delay is reported to those who asked; `None` is never.
        notify_of_delay_every: Option<Duration> = "notify-of-delay-every",
        ignore_pipelining: bool = "ignore-pipelining",
        pipeline_across_data: bool = "pipeline-across-data",
        /// Recipients a day through a cold virtual MTA: of its first day, its second, and so on; the last stays.
        max_cold_virtual_mta_msg: Vec<u64> = "max-cold-virtual-mta-msg",
        /// Percent of failed attempts on a day from which on the next one has no more, or less.
        cold_virtual_mta_hold_above: Option<u32> = "cold-virtual-mta-hold-above",
        cold_virtual_mta_lower_above: Option<u32> = "cold-virtual-mta-lower-above",
        prefer_chunking: bool = "prefer-chunking",
        /// The domain whose queue has this one's mail.
        queue_to: Option<String> = "queue-to",
        disable_mx_rollup: bool = "disable-mx-rollup",
        /// What applies in backoff; rates are the normal ones where `None`.
        backoff_max_smtp_out: u32 = "backoff-max-smtp-out",
        backoff_max_connect_rate: Option<Rate> = "backoff-max-connect-rate",
        backoff_max_msg_rate: Option<Rate> = "backoff-max-msg-rate",
        backoff_max_data_volume_rate: Option<VolumeRate> = "backoff-max-data-volume-rate",
        backoff_retry_after: Vec<Duration> = "backoff-retry-after",
        /// `None` is never.
        backoff_to_normal_after: Option<Duration> = "backoff-to-normal-after",
        reroute: Option<String> = "reroute-to-virtual-mta",
        backoff_reroute: Option<String> = "backoff-reroute-to-virtual-mta",
        backoff_to_normal_after_delivery: bool = "backoff-to-normal-after-delivery",
        backoff_upon_all_sources_disabled: bool = "backoff-upon-all-sources-disabled",
        /// Eases rate and connections itself instead of entering backoff.
        adaptive_rate: bool = "adaptive-rate",
        adaptive_rate_floor: Rate = "adaptive-rate-floor",
        adaptive_rate_step_up_interval: Duration = "adaptive-rate-step-up-interval",
        /// `None` is never.
        reenable_source_ip_after: Option<Duration> = "reenable-source-ip-after",
        backoff_notify: Option<Vec<String>> = "backoff-notify",
        disabled_source_ip_notify: Option<Vec<String>> = "disabled-source-ip-notify",
        smtp_pattern_list: Option<String> = "smtp-pattern-list",
        retry_after_dns_error: Duration = "retry-after-dns-error",
        retry_upon_new_mail: bool = "retry-upon-new-mail",
    }
}

settings! {
    /// What applies to one client: `<source>` entries merged for its address and the named source in use.
    SourceSettings of Scope::Source, {
        smtp_service: bool = "smtp-service",
        always_allow_relaying: bool = "always-allow-relaying",
        allow_auth: bool = "allow-auth",
        /// Mail only after AUTH.
        require_auth: bool = "require-auth",
        allow_unencrypted_plain_auth: bool = "allow-unencrypted-plain-auth",
        require_starttls_before_auth: bool = "require-starttls-before-auth",
        /// Failed logins, counted from the first, before AUTH is locked.
        smtp_max_auth_failure_rate: Rate = "smtp-max-auth-failure-rate",
        allow_starttls: bool = "allow-starttls",
        /// The client may say for whom it speaks, by XCLIENT.
        allow_xclient: bool = "allow-xclient",
        /// Connections begin with a PROXY header that says who the client is.
        require_proxy_protocol: bool = "require-proxy-protocol",
        /// The group whose limits apply.
        source_group: Option<String> = "source-group",
        log_connections: bool = "log-connections",
        log_commands: bool = "log-commands",
        log_data: bool = "log-data",
        log_tls: bool = "log-tls",
        allow_chunking: bool = "allow-chunking",
        allow_smtputf8: bool = "allow-smtputf8",
        check_spf_inbound: bool = "check-spf-inbound",
        /// Empty answers from DNS that a check of SPF may have.
        check_spf_inbound_max_void_lookups: u32 = "check-spf-inbound-max-void-lookups",
        reject_spf_check_temperror: bool = "reject-spf-check-temperror",
        reject_spf_check_permerror: bool = "reject-spf-check-permerror",
        reject_spf_check_fail: bool = "reject-spf-check-fail",
        check_iprev_inbound: bool = "check-iprev-inbound",
        reject_iprev_check_temperror: bool = "reject-iprev-check-temperror",
        reject_iprev_check_permerror: bool = "reject-iprev-check-permerror",
        reject_iprev_check_fail: bool = "reject-iprev-check-fail",
        check_dkim_inbound: bool = "check-dkim-inbound",
        /// What DNS said goes into Authentication-Results too.
        trace_spf_check: bool = "trace-spf-check",
        trace_iprev_check: bool = "trace-iprev-check",
        trace_dkim_check: bool = "trace-dkim-check",
        /// Mail merge, by either of its names.
        allow_mailmerge: bool = "allow-mailmerge",
        always_allow_api_submission: bool = "always-allow-api-submission",
        /// A virtual MTA or pool, or `by-smtp-source-ip`.
        default_virtual_mta: Option<String> = "default-virtual-mta",
        /// The list that chooses before the default does.
        pattern_list: Option<String> = "pattern-list",
        /// How senders are rewritten where the virtual MTA does not say.
        rewrite_list: Option<String> = "rewrite-list",
        /// `<address-list>`s of recipients that get no mail.
        suppression_lists: NameLists = "suppression-lists",
        /// Recipients that are no addresses or suppressed are taken in and bounced.
        accept_invalid_recipients: bool = "accept-invalid-recipients",
        reject_invalid_virtual_mta: bool = "reject-invalid-virtual-mta",
        process_x_virtual_mta: bool = "process-x-virtual-mta",
        retain_x_virtual_mta: bool = "retain-x-virtual-mta",
        allow_empty_x_virtual_mta: bool = "allow-empty-x-virtual-mta",
        process_x_job: bool = "process-x-job",
        retain_x_job: bool = "retain-x-job",
        /// Another header that names the job.
        jobid_header: Option<String> = "jobid-header",
        /// Stands before the name of a job; `{auth}` is the user's name.
        jobid_prefix: Option<String> = "jobid-prefix",
        process_x_envid: bool = "process-x-envid",
        process_x_schedule: bool = "process-x-schedule",
        retain_x_schedule: bool = "retain-x-schedule",
        retain_x_dkim_options: bool = "retain-x-dkim-options",
        retain_x_dkim_key: bool = "retain-x-dkim-key",
        remove_received_headers: bool = "remove-received-headers",
        /// Headers that are taken out.
        remove_headers: Option<Vec<String>> = "remove-header",
        add_received_header: bool = "add-received-header",
        hide_message_source: bool = "hide-message-source",
        add_date_header: AddDate = "add-date-header",
        date_header_time: DateTime = "date-header-time",
        /// Names the virtual MTA or pool in `x-virtual-mta`.
        add_x_virtual_mta_header: bool = "add-x-virtual-mta-header",
        /// Gets a copy of every finished message.
        bcc: Option<String> = "bcc",
        add_message_id_header: bool = "add-message-id-header",
        /// Bytes; `None` is no limit.
        max_message_size: Option<u64> = "max-message-size",
        /// `None` is no limit.
        max_rcpt_per_message: Option<u32> = "max-rcpt-per-message",
        /// Received headers allowed.
        max_message_hops: u32 = "max-message-hops",
        /// Too many recipients fail the message at its end, instead of being refused one by one.
        too_many_rcpts_fails_message: bool = "too-many-rcpts-fails-message",
        dsn_return_default: DsnReturn = "dsn-return-default",
        verp_default: bool = "verp-default",
        /// No delivery reports are made.
        suppress_local_dsn: bool = "suppress-local-dsn",
        disconnect_on_transient_error: bool = "disconnect-on-transient-error",
        auto_qualify_domain: bool = "auto-qualify-domain",
        smtp_command_timeout: Duration = "smtp-command-timeout",
        smtp_data_timeout: Duration = "smtp-data-timeout",
    }
}

settings! {
    /// Directives of one `<smtp-listener>`.
    ListenerSettings of Scope::SmtpListener, {
        /// The named source that applies here.
        source: Option<String> = "source",
        /// As `Global::smtp_await_slot`, for this listener.
        await_slot: bool = "await-slot",
        /// TLS from the first byte.
        immediate_tls: bool = "immediate-tls",
        tls_ca_file: Option<String> = "tls-ca-file",
        tls_certificate: Option<Certificate> = "tls-certificate",
        tls_v1_2: bool = "tls-allow-tlsv1.2",
        tls_v1_3: bool = "tls-allow-tlsv1.3",
        tls_ciphers: Option<Vec<&'static str>> = "tls-ciphers",
        tls_ciphers_1_3: Option<Vec<&'static str>> = "tls-tlsv1.3-ciphersuites",
    }
}

settings! {
    /// Directives of one `<source-group>`.
    GroupSettings of Scope::SourceGroup, {
        /// Connections at once; `None` is no limit.
        max_smtp_in: Option<u32> = "max-smtp-in",
        /// Connections that nobody else may use; `None` is none.
        reserved_smtp_in: Option<u32> = "reserved-smtp-in",
    }
}

/// Those of a listener that is given in one line.
impl Default for ListenerSettings {
    fn default() -> ListenerSettings {
        ListenerSettings::read(&Slots::default())
    }
}

settings! {
    /// Directives of one `<smtp-user>`.
    UserSettings of Scope::SmtpUser, {
        authentication: Authentication = "authentication-method",
        password: Option<String> = "password",
        /// The certificates of a user who logs in with one.
        tls_certificate: Option<String> = "tls-certificate",
        /// The named source that applies to the user.
        source: Option<String> = "source",
    }
}

settings! {
    /// Limits of one virtual MTA, over all its queues: its own, else those of its first pool.
    VmtaSettings of Scope::VirtualMta, {
        max_smtp_out: Option<u32> = "max-smtp-out",
        /// Attempted recipients.
        max_smtp_msg_rate: Rate = "max-smtp-msg-rate",
        /// Delivered bytes.
        max_smtp_data_volume_rate: VolumeRate = "max-smtp-data-volume-rate",
    }
}

settings! {
    /// Directives of one `<acct-file>`.
    AcctSettings of Scope::AcctFile, {
        /// Never empty.
        records: Vec<RecordType> = "records",
        /// Columns by record type; a type that is not here has its default columns.
        record_fields: Vec<(RecordType, FieldSelection)> = "record-fields",
        header_fields: Vec<HeaderField> = "map-header-to-field",
        queue_filter: Option<QueueFilter> = "queue-filter",
        /// Where finished files go.
        move_to: Option<String> = "move-to",
        /// Only with `move_to`.
        move_interval: Duration = "move-interval",
        /// Bytes, at least 1 MiB.
        max_size: u64 = "max-size",
        /// Only without `move_to`.
        delete_after: DeleteAfter = "delete-after",
        /// Otherwise Unix seconds.
        iso_times: bool = "iso-times",
        user_string: Option<String> = "user-string",
        world_readable: bool = "world-readable",
        sync: bool = "sync",
    }
}

settings! {
    /// Directives of `<transmissions-api>`.
    ApiSettings of Scope::TransmissionsApi, {
        /// Whoever has one of them may submit.
        api_keys: Vec<String> = "api-key",
        log_requests: bool = "log-requests",
        log_data: bool = "log-data",
        log_tls: bool = "log-tls",
    }
}

settings! {
    /// Directives of one `<transmissions-api-listener>`.
    ApiListenerSettings of Scope::TransmissionsApiListener, {
        /// Without one, HTTP is spoken in the clear.
        tls_certificate: Option<Certificate> = "tls-certificate",
        tls_v1_2: bool = "tls-allow-tlsv1.2",
        tls_v1_3: bool = "tls-allow-tlsv1.3",
        tls_ciphers: Option<Vec<&'static str>> = "tls-ciphers",
        tls_ciphers_1_3: Option<Vec<&'static str>> = "tls-tlsv1.3-ciphersuites",
    }
}

settings! {
    /// Directives of one `<spool>`.
    SpoolSettings of Scope::Spool, {
        /// Bytes; below this new mail is refused. 0 is no limit.
        min_free_space: u64 = "min-free-space",
        deliver_only: bool = "deliver-only",
        /// 1 to 100; the highest is used until full.
        priority: u32 = "priority",
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
