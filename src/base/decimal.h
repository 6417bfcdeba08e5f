// base/decimal.h: private to the room: doubles as decimal digits. See decimal.c.
#ifndef HOB_BASE_DECIMAL_H
#define HOB_BASE_DECIMAL_H

#include "base/base.h"

// The fewest digits that read back as v (v > 0 and finite): value = 0.d1d2d3... * 10^exp. At
// most 17.
int decimal_shortest(double v, char digits[17], int *exp);

#endif
