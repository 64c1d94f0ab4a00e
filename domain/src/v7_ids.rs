use uuid::Uuid;

use crate::ports::Ids;

/// `UUIDv7`s (RFC 9562), in order within the process: their counter goes on while the clock stands still or goes
/// back.
///
/// Only with the feature `ids`.
#[derive(Debug, Clone, Copy, Default)]
pub struct V7Ids;

impl Ids for V7Ids {
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_order_also_from_several_threads() {
        let ids = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..5_000).map(|_| V7Ids.next()).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        for thread in &ids {
            assert!(thread.is_sorted());
        }
        let mut all: Vec<_> = ids.concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 20_000);
    }
}
