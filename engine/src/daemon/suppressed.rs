//! `suppression-lists` of a source, as every way in asks them.

use super::profiles::Configured;
use crate::mail::suppression::Suppression;
use crate::mail::{AddressRef, normalise_domain};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use vmta_config::{AddressList, Config, SourceSettings};

/// The lists of `source` as `config` has them; `None` where it names none.
pub fn suppression(config: &Config, source: &SourceSettings) -> Option<Suppression> {
    let named = source.suppression_lists.0.iter();
    let lists: HashMap<String, Arc<AddressList>> =
        named.filter_map(|name| Some((name.clone(), config.address_list(name)?.clone()))).collect();
    by_name(source, move |name, local, domain| {
        lists.get(name).is_some_and(|list| list.contains(local, domain))
    })
}

/// The same as the configuration in effect has them, whenever they are asked: connections of feeders last for days, and who
/// has unsubscribed since is not to wait for their end.
pub fn current(configured: &Arc<ArcSwap<Configured>>, source: &SourceSettings) -> Option<Suppression> {
    let configured = configured.clone();
    by_name(source, move |name, local, domain| {
        configured.load().config.address_list(name).is_some_and(|list| list.contains(local, domain))
    })
}

fn by_name(
    source: &SourceSettings,
    contains: impl Fn(&str, &str, &str) -> bool + Send + Sync + 'static,
) -> Option<Suppression> {
    let names: Vec<Arc<str>> = source.suppression_lists.0.iter().map(|name| name.as_str().into()).collect();
    if names.is_empty() {
        return None;
    }
    Some(Suppression::new(move |address: AddressRef<'_>| {
        let mut domain = String::new();
        // An address that has got here has a domain that can be written in ASCII.
        normalise_domain(address.domain(), &mut domain).ok()?;
        names.iter().find(|name| contains(name, address.local(), &domain)).cloned()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Address;
    use vmta_config::{MemoryFiles, load};

    fn config(sources: &str) -> Config {
        let text = format!(
            "log-file /l\n<spool /s>\n</spool>\n<address-list a1>\n address-file gone\n</address-list>\n\
             <address-list a2>\n domain bücher.example\n</address-list>\n{sources}"
        );
        let files = MemoryFiles::new([("c", text), ("gone", "# unsubscribed\njim@example.com\n".to_owned())]);
        let loaded = load("c", &files, false);
        loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
    }

    #[test]
    fn lists_add_up_over_sources_and_are_cleared_by_nothing() {
        let config = config(
            "<source 0/0>\n suppression-lists a1\n</source>\n<source 10/8>\n suppression-lists a2\n</source>\n\
             <source 10.9.0.0/16>\n suppression-lists \"\"\n</source>\n",
        );
        let told = |client: [u8; 4], recipient: &str| {
            let source = config.source_for(client.into(), None, None);
            let lists = suppression(&config, &source)?;
            let fine = Address::parse("fine@example.com").expect("an address");
            assert_eq!(lists.refuses(fine.as_ref()), None);
            let address = Address::parse(recipient).expect("an address");
            lists.refuses(address.as_ref()).map(|why| why.to_string())
        };
        let a1 = "recipient is in suppression list \"a1\"";
        assert_eq!(told([192, 0, 2, 1], "Jim@EXAMPLE.com").as_deref(), Some(a1));
        assert_eq!(told([10, 0, 0, 1], "Jim@EXAMPLE.com").as_deref(), Some(a1));
        let a2 = "recipient is in suppression list \"a2\"";
        assert_eq!(told([10, 0, 0, 1], "x@xn--bcher-kva.example").as_deref(), Some(a2));
        assert_eq!(told([192, 0, 2, 1], "x@xn--bcher-kva.example"), None);
        assert_eq!(told([10, 9, 0, 1], "jim@example.com"), None);
    }
}
