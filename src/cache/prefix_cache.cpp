#include "cache/prefix_cache.h"

#include <algorithm>

#include "base/check.h"

namespace lethe::cache {

namespace {

int64_t common_prefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return end.first - a.begin();
}

}  // namespace

int64_t PrefixCache::num_states() const noexcept {
  int64_t count = 0;
  for (const Timeline& timeline : timelines_) count += static_cast<int64_t>(timeline.saved.size());
  return count;
}

PrefixCache::Hit PrefixCache::find(std::string_view scope, std::span<const int32_t> prompt,
                                   int64_t max_tokens) {
  Hit hit;
  Saved* best = nullptr;
  for (Timeline& timeline : timelines_) {
    if (timeline.scope != scope) continue;
    const int64_t common = common_prefix(prompt, *timeline.tokens);
    hit.common_tokens = std::max(hit.common_tokens, common);
    const int64_t limit = std::min(common, max_tokens);
    for (Saved& saved : timeline.saved) {
      // A state that is a few tokens too far can be taken back.
      const int64_t usable = std::min(limit, saved.state.position());
      if (usable > hit.tokens && saved.state.can_truncate(usable)) {
        hit.tokens = usable;
        best = &saved;
      }
    }
  }
  if (best != nullptr) {
    best->last_used = ++clock_;
    hit.state = best->state.fork();
    hit.state->truncate(hit.tokens);
  }
  return hit;
}

/// The timeline of which tokens[0, position) is a part, or which is a part of these tokens.
PrefixCache::Timeline* PrefixCache::find_timeline(std::string_view scope, const TokenList& tokens,
                                                  int64_t position) {
  for (Timeline& timeline : timelines_) {
    if (timeline.scope != scope) continue;
    if (timeline.tokens == tokens) return &timeline;
    const int64_t common = common_prefix(*tokens, *timeline.tokens);
    const int64_t known = timeline.saved.back().state.position();
    if (common >= position || common >= known) {
      // Its own states lie within what is common, or this one does: keep the tokens that cover all.
      if (common < known) return &timeline;
      set_tokens(timeline, tokens);
      return &timeline;
    }
  }
  return nullptr;
}

void PrefixCache::insert(std::string_view scope, const TokenList& tokens,
                         const model::SequenceState& state) {
  const int64_t position = state.position();
  LETHE_CHECK(position <= static_cast<int64_t>(tokens->size()));
  if (budget_bytes_ <= 0 || position == 0) return;
  Timeline* timeline = find_timeline(scope, tokens, position);
  if (timeline == nullptr) {
    timeline = &timelines_.emplace_back(Timeline{std::string(scope), nullptr, {}});
    set_tokens(*timeline, tokens);
  }
  const auto at =
      std::lower_bound(timeline->saved.begin(), timeline->saved.end(), position,
                       [](const Saved& saved, int64_t p) { return saved.state.position() < p; });
  if (at != timeline->saved.end() && at->state.position() == position) {
    at->last_used = ++clock_;
    return;
  }
  timeline->saved.insert(at, Saved{state.fork(), ++clock_});
  hold_pages(state);
  evict();
}

void PrefixCache::hold_pages(const model::SequenceState& state) {
  state.for_each_page([this](const std::byte* page, int64_t bytes) {
    if (page_holders_[page]++ == 0) size_bytes_ += bytes;
  });
}

void PrefixCache::release_pages(const model::SequenceState& state) {
  state.for_each_page([this](const std::byte* page, int64_t bytes) {
    const auto holders = page_holders_.find(page);
    if (--holders->second > 0) return;
    size_bytes_ -= bytes;
    page_holders_.erase(holders);
  });
}

void PrefixCache::set_tokens(Timeline& timeline, const TokenList& tokens) {
  const auto bytes_of = [](const TokenList& list) {
    return list ? static_cast<int64_t>(list->size() * sizeof(int32_t)) : 0;
  };
  size_bytes_ += bytes_of(tokens) - bytes_of(timeline.tokens);
  timeline.tokens = tokens;
}

void PrefixCache::evict() {
  while (size_bytes_ > budget_bytes_ && !timelines_.empty()) {
    auto oldest = timelines_.begin();
    size_t index = 0;
    for (auto timeline = timelines_.begin(); timeline != timelines_.end(); ++timeline) {
      for (size_t i = 0; i < timeline->saved.size(); ++i) {
        if (timeline->saved[i].last_used < oldest->saved[index].last_used) {
          oldest = timeline;
          index = i;
        }
      }
    }
    release_pages(oldest->saved[index].state);
    oldest->saved.erase(oldest->saved.begin() + static_cast<ptrdiff_t>(index));
    if (!oldest->saved.empty()) continue;
    set_tokens(*oldest, nullptr);
    timelines_.erase(oldest);
  }
}

void PrefixCache::set_budget(int64_t budget_bytes) {
  budget_bytes_ = budget_bytes;
  evict();
}

}  // namespace lethe::cache
