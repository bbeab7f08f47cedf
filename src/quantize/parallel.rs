//! The same work on many things, on a few threads.

use std::{sync::Mutex, thread};

/// Does the work on each of the items. Which thread has which is left open, so the work on one must not depend on that
/// on another.
pub(super) fn for_each<T: Send>(items: &mut [T], threads: usize, work: impl Fn(&mut T) + Sync) {
    let left = Mutex::new(items.iter_mut());
    let next = || left.lock().expect("no thread panics while it holds the lock").next();
    let go_on = || {
        while let Some(item) = next() {
            work(item);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(go_on);
        }
        go_on();
    });
}

#[cfg(test)]
mod tests {
    use super::for_each;

    #[test]
    fn each_item_is_worked_on_once() {
        for threads in [1, 2, 7] {
            let mut items: Vec<u32> = (0..100).collect();
            for_each(&mut items, threads, |item| *item += 1);
            assert_eq!(items, (1..101).collect::<Vec<_>>());
        }
    }
}
