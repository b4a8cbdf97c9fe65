/** Why an envelope was not taken, as its device hears it: by holders, or by this node itself. */
import { receiptStates, routes } from '../../protocol/frame/receipt.ts'
import type { ReceiptFrame } from '../../protocol/frame/receipt.ts'
import type { EnvelopeId } from '../../protocol/ids.ts'
import { depositResults } from '../../protocol/service/deposit.ts'
import type { DepositResult } from '../../protocol/service/deposit.ts'

export const refusalCodes: Partial<Record<DepositResult, string>> = {
  [depositResults.overQuota]: 'INBOX_FULL',
  [depositResults.busy]: 'HOLDER_BUSY',
  [depositResults.noBox]: 'INBOX_GONE',
}

export function refusal(id: EnvelopeId, code: string): ReceiptFrame {
  return {
    type: 'receipt', envelopeId: id, state: receiptStates.refused, have: 0, want: 0,
    route: routes.none, level: 0, proofs: [], code,
  }
}
