#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/check.h"

namespace lethe::ops {

/// A growing list of equal-sized byte rows, numbered from 0 for ever: rows are appended at the end,
/// forgotten at the front (`trim`), taken back at the end (`truncate`). Kept in pages that copies
/// share; a page is copied when one of its sharers is about to write it (copy on write), so copying
/// a store costs a pointer per page. Distinct stores may be used by distinct threads; of one store,
/// reads and writes to distinct rows may run at once, `append` and the rest may not.
class RowStore {
 public:
  RowStore() = default;
  /// rows_per_page: a power of two.
  RowStore(int64_t row_bytes, int64_t rows_per_page);

  int64_t row_bytes() const noexcept { return row_bytes_; }
  int64_t begin() const noexcept { return begin_; }  ///< First row still held.
  int64_t end() const noexcept { return end_; }      ///< One past the last row.
  bool used() const noexcept { return row_bytes_ > 0; }

  const std::byte* row(int64_t index) const noexcept {
    LETHE_DCHECK(index >= begin_ && index < end_);
    return page_of(index).bytes.get() + (index & (rows_per_page_ - 1)) * row_bytes_;
  }
  /// One past the last of the rows that lie one after the other in memory from `index` on.
  int64_t run_end(int64_t index) const noexcept {
    const int64_t page_end = (index / rows_per_page_ + 1) * rows_per_page_;
    return page_end < end_ ? page_end : end_;
  }
  /// A row appended since the last copy was taken, for writing.
  std::byte* mutable_row(int64_t index) noexcept {
    LETHE_DCHECK(index >= begin_ && index < end_);
    return page_of(index).bytes.get() + (index & (rows_per_page_ - 1)) * row_bytes_;
  }

  /// Adds `count` rows of unspecified bytes; returns the index of the first.
  int64_t append(int64_t count);
  /// Forgets all rows, and goes on as if `count` more had been appended.
  void skip(int64_t count);
  /// Drops the rows from `end` on; end >= begin().
  void truncate(int64_t end);
  /// Forgets rows before `begin` (memory is given back by whole pages).
  void trim(int64_t begin);

  /// Bytes of the pages held, shared ones included.
  int64_t size_bytes() const noexcept;

  /// Calls visit(page, bytes) for every page held; copies that share a page give the same pointer.
  template <typename Visit>
  void for_each_page(Visit&& visit) const {
    for (const Page& page : pages_) visit(page.bytes.get(), row_bytes_ * rows_per_page_);
  }

  /// Self-contained form: begin, end and the row bytes, appended to `out`.
  void serialize(std::vector<std::byte>& out) const;
  /// Reads what serialize wrote from the front of `in` and advances it. Throws IoError if the bytes
  /// do not describe rows of this store's size, or more than `max_rows` of them.
  void deserialize(std::span<const std::byte>& in, int64_t max_rows);

 private:
  struct Page {
    std::shared_ptr<std::byte[]> bytes;
  };
  const Page& page_of(int64_t index) const noexcept {
    return pages_[static_cast<size_t>(index / rows_per_page_ - first_page_)];
  }
  Page new_page() const;

  int64_t row_bytes_ = 0;
  int64_t rows_per_page_ = 1;
  int64_t begin_ = 0;
  int64_t end_ = 0;
  int64_t first_page_ = 0;  ///< Page number of pages_[0].
  std::vector<Page> pages_;
};

}  // namespace lethe::ops
