#pragma once

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

namespace lethe {

template <typename Signature>
class FunctionRef;

/// Something to call, seen through a pointer: for parameters that are called before the function
/// returns. Unlike std::function it owns nothing, and so takes no memory; what it refers to must
/// outlive it.
template <typename Result, typename... Args>
class FunctionRef<Result(Args...)> {
 public:
  template <typename Callable>
  requires(!std::same_as<std::remove_cvref_t<Callable>, FunctionRef> &&
           std::is_invocable_r_v<Result, Callable&, Args...>) FunctionRef(Callable&& callable)
  noexcept  // NOLINT(google-explicit-constructor)
      : callable_(const_cast<void*>(static_cast<const void*>(std::addressof(callable)))),
        call_([](void* target, Args... args) -> Result {
          auto& function = *static_cast<std::remove_reference_t<Callable>*>(target);
          return static_cast<Result>(function(std::forward<Args>(args)...));
        }) {}

  Result operator()(Args... args) const { return call_(callable_, std::forward<Args>(args)...); }

 private:
  void* callable_;
  Result (*call_)(void*, Args...);
};

}  // namespace lethe
