//! The suite of [`Ids`].

use std::collections::BTreeSet;
use std::sync::Arc;

use doorstep_domain::ports::Ids;
use uuid::{Uuid, Variant};

use crate::clause::clauses;

clauses! {
    /// The promises of [`Ids`] that the suite checks.
    VERSION = "id version": "each id is a UUIDv7 of the variant of RFC 9562";
    ORDERED = "id order": "each id is above all that were returned before";
    AT_ONCE = "id at once": "threads that ask at the same time get ids in order, and never the same";
}

/// [`Ids`]: checks every promise of [`CLAUSES`].
pub fn ids(ids: &Arc<dyn Ids>) {
    let some: Vec<_> = (0..10_000).map(|_| ids.next()).collect();
    for id in &some {
        let (version, variant) = (id.get_version_num(), id.get_variant());
        VERSION.same(format_args!("the version of {id}"), &version, &7);
        VERSION.same(format_args!("the variant of {id}"), &variant, &Variant::RFC4122);
    }
    for (one, next) in some.iter().zip(&some[1..]) {
        ORDERED.holds(next > one, format_args!("expected an id above {one}, and got {next}"));
    }
    let threads: Vec<Vec<Uuid>> = std::thread::scope(|scope| {
        let ask = || (0..5_000).map(|_| ids.next()).collect();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    for thread in &threads {
        let in_order = thread.is_sorted_by(|one, two| one < two);
        AT_ONCE.holds(in_order, "expected ids in order on one of four threads, and they were not");
    }
    let different = threads.iter().flatten().collect::<BTreeSet<_>>().len();
    AT_ONCE.same("how many different ids four threads got", &different, &20_000);
}
