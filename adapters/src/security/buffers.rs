use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use argon2::Block;

/// The memory of hashes: reused between hashes, and freed when no hash is computed or waits.
///
/// The allocator would keep it: it grows an arena per thread by the size of a hash, and never returns that to the
/// system.
#[derive(Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Pool>>);

#[derive(Default)]
struct Pool {
    free: Vec<Buffer>,
    /// The number of hashes that are computed or wait for their turn.
    users: usize,
}

/// The memory of one hash.
pub(super) struct Buffer(Vec<Block>);

/// A user of the buffers: one hash. When the last one is dropped, all memory is freed.
pub(super) struct BufferUser {
    buffers: Buffers,
}

impl Buffers {
    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn user(&self) -> BufferUser {
        self.pool().users += 1;
        BufferUser { buffers: self.clone() }
    }
}

impl BufferUser {
    /// Runs `work` with a free buffer or a new one. There are never more buffers than concurrent hashes.
    pub(super) fn with_buffer<T>(&self, work: impl FnOnce(&mut Buffer) -> T) -> T {
        let left = self.buffers.pool().free.pop();
        let mut buffer = left.unwrap_or_else(Buffer::new);
        let result = work(&mut buffer);
        self.buffers.pool().free.push(buffer);
        result
    }
}

impl Drop for BufferUser {
    fn drop(&mut self) {
        let mut pool = self.buffers.pool();
        pool.users -= 1;
        if pool.users == 0 {
            pool.free = Vec::new();
        }
    }
}

impl Buffer {
    /// The smallest allocation, in blocks of 1 KiB. glibc requests more than 32 MiB directly from the system, and
    /// returns it when it is freed. Untouched pages take no memory.
    const LEAST_BLOCKS: usize = 33 * 1024;

    fn new() -> Self {
        Self(Vec::with_capacity(Self::LEAST_BLOCKS))
    }

    /// Returns `count` blocks. They may hold the data of an earlier hash, which is harmless: each is written
    /// before it is read.
    pub(super) fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.len() < count {
            self.0.resize(count, Block::new());
        }
        &mut self.0[..count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_reused_until_the_last_user_goes() {
        let buffers = Buffers::default();
        let (one, two) = (buffers.user(), buffers.user());
        one.with_buffer(|buffer| buffer.blocks(8)[0].as_mut()[0] = 7);
        drop(one);
        let reused = two.with_buffer(|buffer| buffer.blocks(8)[0].as_ref()[0]);
        assert_eq!((reused, buffers.pool().free.len()), (7, 1));
        drop(two);
        let pool = buffers.pool();
        assert_eq!((pool.free.capacity(), pool.users), (0, 0));
    }
}
