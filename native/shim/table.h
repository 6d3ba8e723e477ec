#pragma once

#include <stddef.h>

#if __has_include(<new>)
#include <new>
#else
/// Placement only; the C++ library is not there, except in tests.
inline void* operator new(size_t, void* place) noexcept { return place; }
#endif

namespace shim {

/// Slots at fixed addresses, made when they are first needed: memory that is never used stays untouched zero pages.
template <typename Slot, size_t kCapacity>
class Table {
 public:
  Slot* begin() { return at(0); }
  Slot* end() { return at(used_); }
  Slot& operator[](size_t i) { return *at(i); }
  size_t size() const { return used_; }
  size_t index_of(const Slot& slot) { return static_cast<size_t>(&slot - at(0)); }

  /// A slot for which `free` says yes, or a new one; nullptr when all are taken.
  template <typename Predicate>
  Slot* take(Predicate free) {
    for (Slot& slot : *this) {
      if (free(slot)) return &slot;
    }
    if (used_ == kCapacity) return nullptr;
    return new (at(used_++)) Slot();
  }

 private:
  Slot* at(size_t i) { return reinterpret_cast<Slot*>(storage_) + i; }

  alignas(Slot) unsigned char storage_[kCapacity * sizeof(Slot)];
  size_t used_;
};

}  // namespace shim
