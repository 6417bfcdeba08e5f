// api/api.h: what stands behind hob.h, for the command line and the page, which need more than the public calls.
#ifndef HOB_API_H
#define HOB_API_H

#include "base/base.h"
#include "format/format.h"
#include "text/text.h"

#endif
