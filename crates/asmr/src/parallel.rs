//! The one place that knows whether there are threads.

/// Threads that [`for_each`] and [`map`] spread work over.
pub(crate) fn n_threads() -> usize {
    #[cfg(feature = "threads")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "threads"))]
    return 1;
}

/// Does `work` on each item, with at most one scratch value per thread.
pub(crate) fn for_each<I: Send, S: Send>(
    items: Vec<I>,
    scratch: impl Fn() -> S + Sync + Send,
    work: impl Fn(&mut S, I) + Sync + Send,
) {
    map(items, scratch, work);
}

/// Like [`for_each`], keeping the results in order.
pub(crate) fn map<I: Send, S: Send, R: Send>(
    items: Vec<I>,
    scratch: impl Fn() -> S + Sync + Send,
    work: impl Fn(&mut S, I) -> R + Sync + Send,
) -> Vec<R> {
    #[cfg(feature = "threads")]
    if n_threads() > 1 {
        use rayon::prelude::*;
        // Not rayon's `map_init`, which makes a value per split: buffers of a tile are large, and the kernel's zeroing
        // of new pages took half of the time of a small decode.
        let spare = std::sync::Mutex::new(Vec::new());
        let take = || spare.lock().ok().and_then(|mut spare| spare.pop());
        return items
            .into_par_iter()
            .map(|item| {
                let mut scratch = take().unwrap_or_else(&scratch);
                let result = work(&mut scratch, item);
                if let Ok(mut spare) = spare.lock() {
                    spare.push(scratch);
                }
                result
            })
            .collect();
    }
    let mut scratch = scratch();
    items.into_iter().map(|item| work(&mut scratch, item)).collect()
}
