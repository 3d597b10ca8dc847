//! Gives memory that was freed back to the system.
//!
//! The allocator of the GNU C library keeps what was freed between two pieces that are still in use. After a
//! flood of connections a service kept three to six times what it held before, for as long as it lived. The
//! library gives it back when it is asked to, and no safe crate asks. This crate holds that one call, so that
//! every other crate of the workspace can forbid unsafe code.

/// Gives back whole pages that hold nothing. Every arena is locked in its turn while it is looked through, which
/// takes some milliseconds for 100 MiB, so it is called from a thread that nobody waits for, and rarely.
///
/// Says whether anything was given back. With another C library it does nothing: musl, and the allocators of
/// other systems, give memory back by themselves.
#[must_use]
pub fn give_back() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: malloc_trim(3) takes a number, touches only memory that is free, and may be called by any
        // thread at any time ("MT-Safe" in the manual of the library).
        unsafe { libc::malloc_trim(0) == 1 }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    {
        false
    }
}
