#include "ops/row_store.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/bytes.h"
#include "base/error.h"

namespace lethe::ops {

RowStore::RowStore(int64_t row_bytes, int64_t rows_per_page)
    : row_bytes_(row_bytes), rows_per_page_(rows_per_page) {
  LETHE_CHECK(row_bytes > 0 && rows_per_page > 0 &&
              std::has_single_bit(static_cast<uint64_t>(rows_per_page)));
}

RowStore::Page RowStore::new_page() const {
  return Page{std::make_shared<std::byte[]>(static_cast<size_t>(row_bytes_ * rows_per_page_))};
}

int64_t RowStore::append(int64_t count) {
  LETHE_CHECK(used() && count >= 0);
  const int64_t first = end_;
  if (count == 0) return first;
  if (pages_.empty()) first_page_ = end_ / rows_per_page_;
  const int64_t last_held = first_page_ + static_cast<int64_t>(pages_.size()) - 1;
  // The page that the first new row falls into may be shared with a copy: make it ours.
  if (first / rows_per_page_ <= last_held) {
    Page& page = pages_[static_cast<size_t>(first / rows_per_page_ - first_page_)];
    if (page.bytes.use_count() > 1) {
      Page own = new_page();
      std::memcpy(own.bytes.get(), page.bytes.get(),
                  static_cast<size_t>((first & (rows_per_page_ - 1)) * row_bytes_));
      page = std::move(own);
    }
  }
  end_ += count;
  const int64_t last_needed = (end_ - 1) / rows_per_page_;
  for (int64_t p = last_held + 1; p <= last_needed; ++p) pages_.push_back(new_page());
  return first;
}

void RowStore::skip(int64_t count) {
  LETHE_CHECK(used() && count >= 0);
  pages_.clear();
  begin_ = end_ = end_ + count;
}

void RowStore::truncate(int64_t end) {
  LETHE_CHECK(end >= begin_ && end <= end_, "cannot truncate rows [{}, {}) to {}", begin_, end_,
              end);
  end_ = end;
  const int64_t pages = begin_ == end_ ? 0 : (end_ - 1) / rows_per_page_ - first_page_ + 1;
  pages_.resize(static_cast<size_t>(pages));
}

void RowStore::trim(int64_t begin) {
  begin = std::clamp(begin, begin_, end_);
  begin_ = begin;
  const int64_t drop =
      std::min(begin / rows_per_page_ - first_page_, static_cast<int64_t>(pages_.size()));
  if (drop <= 0) return;
  pages_.erase(pages_.begin(), pages_.begin() + drop);
  first_page_ += drop;
}

int64_t RowStore::size_bytes() const noexcept {
  return static_cast<int64_t>(pages_.size()) * row_bytes_ * rows_per_page_;
}

namespace {

int64_t take_i64(std::span<const std::byte>& in) {
  if (in.size() < sizeof(int64_t)) throw IoError("saved state ends too early");
  int64_t value = 0;
  std::memcpy(&value, in.data(), sizeof(value));
  in = in.subspan(sizeof(value));
  return value;
}

}  // namespace

void RowStore::serialize(std::vector<std::byte>& out) const {
  append_value(out, row_bytes_);
  append_value(out, begin_);
  append_value(out, end_);
  for (int64_t i = begin_; i < end_;) {
    const int64_t page_end = std::min((i / rows_per_page_ + 1) * rows_per_page_, end_);
    append_bytes(out, row(i), static_cast<size_t>((page_end - i) * row_bytes_));
    i = page_end;
  }
}

void RowStore::deserialize(std::span<const std::byte>& in, int64_t max_rows) {
  const int64_t saved_row_bytes = take_i64(in);
  const int64_t begin = take_i64(in);
  const int64_t end = take_i64(in);
  if (saved_row_bytes != row_bytes_) {
    throw IoError(
        "saved state has rows of {} bytes, this model has rows of {}: it was saved by "
        "another model or numerics mode",
        saved_row_bytes, row_bytes_);
  }
  if (begin < 0 || end < begin || end > max_rows) {
    throw IoError("saved state claims rows [{}, {}), at most {} are possible", begin, end,
                  max_rows);
  }
  if (row_bytes_ > 0 &&
      static_cast<uint64_t>(end - begin) > in.size() / static_cast<uint64_t>(row_bytes_)) {
    throw IoError("saved state ends too early");
  }
  pages_.clear();
  begin_ = end_ = begin;
  first_page_ = row_bytes_ > 0 ? begin / rows_per_page_ : 0;
  if (row_bytes_ == 0) return;
  append(end - begin);
  for (int64_t i = begin; i < end; ++i) {
    std::memcpy(mutable_row(i), in.data(), static_cast<size_t>(row_bytes_));
    in = in.subspan(static_cast<size_t>(row_bytes_));
  }
}

}  // namespace lethe::ops
