#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/sequence_state.h"

namespace lethe::cache {

/// Token ids of a sequence, shared by all that remember a part of it.
using TokenList = std::shared_ptr<const std::vector<int32_t>>;

/// States kept in memory at places where other requests may go on from: a prompt whose beginning is
/// known resumes from the furthest state inside it instead of computing the beginning again.
///
/// States of one growing conversation share their pages, so each costs little more than its
/// windows; a page that several hold is counted once. The least recently used state goes first when
/// the budget is full. Not thread-safe: the scheduler owns it. Source: design section 4, spec
/// api.md section 4.
class PrefixCache {
 public:
  /// `budget_bytes` 0: nothing is kept.
  explicit PrefixCache(int64_t budget_bytes) : budget_bytes_(budget_bytes) {}

  struct Hit {
    std::optional<model::SequenceState> state;  ///< nothing: begin with an empty one
    int64_t tokens = 0;                         ///< of the prompt that `state` has taken in
    /// Tokens that the prompt shares with a sequence seen before, at least `tokens`: a state saved
    /// there serves the next prompt that begins so.
    int64_t common_tokens = 0;
  };
  /// The furthest state that a prompt can go on from, at most `max_tokens` into it. Scopes do not
  /// see each other's states. The state is a fork: using it leaves the cache as it is.
  Hit find(std::string_view scope, std::span<const int32_t> prompt, int64_t max_tokens);

  /// Keeps a fork of `state`, which has taken in tokens[0, state.position()).
  void insert(std::string_view scope, const TokenList& tokens, const model::SequenceState& state);

  /// Drops states until at most `budget_bytes` are held, and holds no more from now on.
  void set_budget(int64_t budget_bytes);

  int64_t size_bytes() const noexcept { return size_bytes_; }
  int64_t num_states() const noexcept;

 private:
  struct Saved {
    model::SequenceState state;
    uint64_t last_used;
  };
  /// One sequence of tokens with the states along it; none of their positions twice.
  struct Timeline {
    std::string scope;
    TokenList tokens;
    std::vector<Saved> saved;  // by position, rising
  };

  Timeline* find_timeline(std::string_view scope, const TokenList& tokens, int64_t position);
  void hold_pages(const model::SequenceState& state);
  void release_pages(const model::SequenceState& state);
  void set_tokens(Timeline& timeline, const TokenList& tokens);
  void evict();

  std::unordered_map<const std::byte*, int64_t> page_holders_;  // states that hold it
  int64_t budget_bytes_;
  int64_t size_bytes_ = 0;
  uint64_t clock_ = 0;
  std::list<Timeline> timelines_;
};

}  // namespace lethe::cache
