/* SPDX-License-Identifier: MIT
 * Puts other libraries' matrix products into the table. */
#include "kernels/gemm.h"

static uint32_t measured(const nib__kernels *table, nib__weight_kind kind)
{
    for (uint32_t i = 0; i < nib__gemm_rule_count; i++) {
        const nib__gemm_rule *rule = &nib__gemm_rules[i];
        if (rule->isa == table->isa && rule->kind == kind) return rule->choice;
    }
    return NIB_GEMM_NATIVE;
}

/* Kinds of weights that the default gives to this library. */
static uint32_t measured_kinds(const nib__kernels *table, uint32_t choice)
{
    uint32_t kinds = 0;
    for (int kind = 0; kind < NIB__WEIGHT_KINDS; kind++) {
        if (measured(table, (nib__weight_kind)kind) == choice) kinds |= 1u << kind;
    }
    return kinds;
}

static nib_status init_onednn(nib__kernels *table, uint32_t kinds, bool fast, bool asked,
                              nib_error *err)
{
#if defined(NIB_WITH_ONEDNN)
    return nib__onednn_init(table, kinds, fast, asked, err);
#else
    (void)table, (void)kinds, (void)fast;
    if (!asked) return NIB_OK;
    return nib__fail(err, NIB_ERR_UNSUPPORTED,
                     "NIB_GEMM=onednn: this library was built without oneDNN (package "
                     "libdnnl-dev)");
#endif
}

static nib_status init_openblas(nib__kernels *table, uint32_t kinds, bool asked, nib_error *err)
{
#if defined(NIB_WITH_OPENBLAS)
    return nib__openblas_init(table, kinds, asked, err);
#else
    (void)table, (void)kinds;
    if (!asked) return NIB_OK;
    return nib__fail(err, NIB_ERR_UNSUPPORTED,
                     "NIB_GEMM=openblas: this library was built without OpenBLAS");
#endif
}

nib_status nib__gemm_init(nib__kernels *table, uint32_t choice, uint32_t precision, nib_error *err)
{
    const uint32_t all =
        (1u << NIB__WEIGHTS_F32) | (1u << NIB__WEIGHTS_HALF) | (1u << NIB__WEIGHTS_INT8);
    const bool fast = precision == NIB_PRECISION_FAST;
    nib_status status = NIB_OK;
    if (choice > NIB_GEMM_OPENBLAS) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "option gemm: expected 0..%d, got %u",
                         (int)NIB_GEMM_OPENBLAS, choice);
    }
    if (precision == NIB_PRECISION_EXACT || precision == NIB_PRECISION_F32) return NIB_OK;
    if (choice == NIB_GEMM_ONEDNN) return init_onednn(table, all, fast, true, err);
    if (choice == NIB_GEMM_OPENBLAS) return init_openblas(table, all, true, err);
    if (choice == NIB_GEMM_NATIVE) return NIB_OK;
    uint32_t onednn = measured_kinds(table, NIB_GEMM_ONEDNN);
    uint32_t openblas = measured_kinds(table, NIB_GEMM_OPENBLAS);
    if (onednn != 0) status = init_onednn(table, onednn, fast, false, err);
    if (status == NIB_OK && openblas != 0) status = init_openblas(table, openblas, false, err);
    return status;
}
