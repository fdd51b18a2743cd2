#include "model/model.h"

#include "base/error.h"
#include "model/v4/v4_model.h"
#include "model/v41/v41_model.h"

namespace lethe::model {

std::unique_ptr<Model> load_model(const Checkpoint& checkpoint, const ops::Device& device,
                                  const ModelOptions& options) {
  switch (checkpoint.config().family) {
    case ModelFamily::V4:
      return std::make_unique<v4::V4Model>(checkpoint, device, options);
    case ModelFamily::V41:
      return std::make_unique<v41::V41Model>(checkpoint, device, options);
  }
  throw LoadError("{}: this model family is unknown", checkpoint.path());
}

}  // namespace lethe::model
