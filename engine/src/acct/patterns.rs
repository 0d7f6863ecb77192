//! Our bounce category patterns, in order; texts before statuses, the last one matches everything (reference 8.2).
//! All are linear-time and case-insensitive.

pub(super) const DEFAULT: &[(&str, &str)] = &[
    // Our own conclusions and age, before any words of the peer.
    (
        r"^[45]\.4\.7;|message expired|exceeded max time without delivery|in the queue too long",
        "message-expired",
    ),
    // A full mailbox is often told together with words of the later groups.
    (
        r"over ?quota|quota (is )?exceed|exceed\w* (\w+ )*(storage|disk|mailbox) (quota|limit|size|allocation)",
        "quota-issues",
    ),
    (
        r"mail(box|drop|folder) +(\S+ +)?(is +)?full|(mailbox|inbox) (for user )?is full|insufficient (disk|storage|system storage)",
        "quota-issues",
    ),
    (
        r"out of (storage|disk) space|boite (du destinataire )?pleine|quota exceeded|not enough (disk )?space",
        "quota-issues",
    ),
    // Authentication policy and reverse DNS name the cause, whatever the reputation words around it.
    (
        r"\bDMARC\b|\bSPF\b|\bDKIM\b|unauthenticated|anti-?spoof|authentication (level|required|check)",
        "policy-related",
    ),
    (r"\bPTR\b|reverse[ -]?DNS|\bRDNS\b|mismatches client ip|unverifyable sending", "policy-related"),
    // Too fast for one recipient or one message id: a limit, not a judgement of the sender.
    (r"receiving mail (at a rate|too quickly)|same message-id", "policy-related"),
    (r"gr[ae]y-?list", "policy-related"),
    // Viruses before spam: both words often stand together.
    (r"\bvirus|malware|phish|infected|MCSpamSignature|trojan", "virus-related"),
    // Too large, malformed, or content a filter names.
    (
        r"(message|mail|header)s? +(\w+ )*(too (big|large)|size exceed)|exceed\w* (\S+ )*(message|header) (\w+ )*(size|limit)|RecipSizeLimit|size limit",
        "content-related",
    ),
    (
        r"headers? (is |are )?(missing|not RFC)|missing a valid|not RFC.?\d* compliant|bare (LF|CR|linefeed)|illegal attachment|invalid 7bit",
        "content-related",
    ),
    (r"message +content|content +(is +)?(rejected|not accept|filter)", "content-related"),
    // Block lists and reputation.
    (
        r"spamhaus|spamcop|\bsorbs\b|barracuda|uribl|surbl|hostkarma|cloudmark|\b(dns|r|u)bl\b|dnsbl|\bRBL\b|junkemailfilter|mail-abuse",
        "spam-related",
    ),
    (
        r"black[ -]?list|block[ -]?list|\bXBL\b|(\(|\[)BL\d*(\)|\])|listed (at|in|on|by)|\bblo(ck|cked)\b.{0,20}(ip|address|list|using|by|see)|has been blocked|is_blocked|blocked\.",
        "spam-related",
    ),
    (
        r"\bspam|\bjunk mail|unsolicited|\bU\.?C\.?E\.?\b|\bAdv(ertisements?)?\b|bulk mail|suspicious",
        "spam-related",
    ),
    (
        r"reputation|bad ip\b|poor sender|user complaints|unusual (rate|volume)|unexpected volume|permanently deferred|untrusted ip",
        "spam-related",
    ),
    (
        r"temporarily deferred|\b(TSS?|TSS|PH|BL|RP|SC|DY|OU|IPTS)-?\d\d+\b.{0,40}(defer|blocked|complain|reject)|\b(DYN|CON|RTR|RLY|HVU):[A-Z]\d",
        "spam-related",
    ),
    (
        r"banned sen|your access to (submit|this mail system)|use the smtp server of your isp|invalid ip for sending|may not be mail exchanger|service refus",
        "spam-related",
    ),
    (
        r"rejected by this user|messages? from .{0,60}weren't sent|mail re[jf]et[eé]|blocked - see",
        "spam-related",
    ),
    // The sender's address.
    (
        r"(MX|mail hosts) for (envelope sender )?domain|return MX does not exist|Your domain has not? DNS|(domain of|invalid) sender( domain| address)?|bad sender's system address|from: domain is invalid",
        "invalid-sender",
    ),
    (
        r"sender (address )?((verify|verification) failed|could not be verified|(address )?rejected|domain must exist|unknown|not exist)|unable to verify sender|requires valid sender",
        "invalid-sender",
    ),
    // Relaying, before the many ways to say "no such user".
    (r"\brelay(ing|ed)?\b|rcpthosts|not (a )?local (host|domain)|gateway(ing)? ", "relaying-issues"),
    // Routing and names that do not resolve.
    (
        r"hop count|too many hops|exceeded \d+ hops|mail loop|loops? back|\bunrout(e)?able\b|\broute\b",
        "routing-errors",
    ),
    (r"DNS (error|failure)|temporary domain failure|(resolv|lookup).{0,30}MX", "routing-errors"),
    (
        r"host (unknown|not found)|(domain|host)( name)? (lookup failed|not found|is not reachable|retired|invalid|unknown|illegal|unavailable|no longer in use)|no MX or A|the domain is not reachable|invalid domain|unknown (host|domain)|no such (host|domain)|domain (\S+ +)?(is +)?obsolete",
        "bad-domain",
    ),
    (
        r"no mail servers? .{0,40}could be reached|no answer from|connection refused\(|could not connect|connection timed out|no route to host",
        "no-answer-from-host",
    ),
    (
        r"service not available, closing|connection (reset|dropped|lost|closed)|no (\w+ )response|lost connection",
        "bad-connection",
    ),
    // Mailboxes that are there but closed.
    (
        r"(user|mailbox|recipient|rcpt|account|address)('s)? +(\S+@\S+ +)?(that you tried to reach )?(has been |has |is |was )*(currently |temporarily )?(disabled|expired|inactive|suspended|deactivated|discontinued|frozen|locked|blocked|not activ\w*)",
        "inactive-mailbox",
    ),
    (
        r"(inactive|disabled|suspended) (user|mailbox|account|recipient)|(conta|usu.rio) inativ[ao]|account (has been )?disabled",
        "inactive-mailbox",
    ),
    // A judgement about the sender's list, not about this recipient.
    (
        r"too many (bad |invalid |unknown |illegal |unavailable )?(user|mailbox|recipient|rcpt|address|account|connection|message|mail)",
        "policy-related",
    ),
    (
        r"trop de connexions|max(imum)? message per connection|rate limit|too (fast|quickly|often)|slow down|throttl|delivery restricted",
        "policy-related",
    ),
    // No such recipient.
    (
        r"(no such|not a valid|bad|invalid|unknown|illegal|unavailable|unrecognized) (\w+ ?(or|alias)? ?)?(local +)?(user|mailbox|recipient|rcpt|local part|alias|address(ee)?|account|mail ?drop|destinat)",
        "bad-mailbox",
    ),
    (
        r"(user|mailbox|recipient|rcpt|local part|alias|address(ee)?|account|mail ?drop)( name)?( <?\S+@\S+)? +(that you tried to reach +)?(is +|was +|does +|has +|could +)*(not? (a +)?(valid|known|here|found|exist\w*|available)|doesn'?t exist|bad|invalid|unknown|illegal|unavailable|moved|no longer)",
        "bad-mailbox",
    ),
    (
        r"<?\S+@\S+>? *(is +)?(not (a +)?(valid|known|here|found)|does not exist|unknown|no longer)",
        "bad-mailbox",
    ),
    (
        r"no mailbox here|badrcptto|not our (customer|user)|no longer (valid|available|on server)|have a \S+ account|user not exist|user unknown|mailbox (not found|unavailable)|recipnotfound|recipientnotfound|recipient (unknown|rejected|not found)|recipient address rejected\.|has moved|destinataire(s)? (invalide|inconnu)|destinataire invalide",
        "bad-mailbox",
    ),
    // Resources of the other side.
    (
        r"(insufficient|not enough) (permission|privilege)|queue file write|configuration error|misconfigur",
        "bad-configuration",
    ),
    (
        r"internal (server )?(error|resource)|resources? (is |are )?temporarily unavailable|service unavailable - try|system (error|problem)|temporarily rejected",
        "other",
    ),
    // Policy in general words.
    (
        r"polic(y|ies)|denied|prohibit|refused|not allowed|not permitted|forbidden|banned|administrative|preferences|access|filtered",
        "policy-related",
    ),
    (
        r"syntax error|bad sequence|command (not|un)|unrecognized command|protocol (error|violation)|not implemented",
        "protocol-errors",
    ),
    // Statuses, where the words said nothing (table in reference 8.2).
    (r"^[45]\.1\.(1|3|4|6|10);", "bad-mailbox"),
    (r"^[45]\.1\.2;", "bad-domain"),
    (r"^[45]\.1\.[78];", "invalid-sender"),
    (r"^[45]\.2\.0;", "bad-mailbox"),
    (r"^[45]\.2\.1;", "inactive-mailbox"),
    (r"^[45]\.2\.2;", "quota-issues"),
    (r"^[45]\.3\.3;", "content-related"),
    (r"^[45]\.3\.5;", "bad-configuration"),
    (r"^[45]\.4\.1;", "no-answer-from-host"),
    (r"^[45]\.4\.2;", "bad-connection"),
    (r"^[45]\.4\.[346];", "routing-errors"),
    (r"^[45]\.5\.3;", "policy-related"),
    (r"^[45]\.5\.\d+;", "protocol-errors"),
    (r"^[45]\.6\.\d+;", "content-related"),
    (r"^[45]\.7\.[012];", "policy-related"),
    (r"^[45]\.7\.7;", "content-related"),
    (r"^[45]\.7\.\d+;", "policy-related"),
    ("", "other"),
];
