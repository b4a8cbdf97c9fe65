/** One kind of bytes from outside: what decodes them, and examples that are valid. */
import type { FuzzedDecoder } from './decoder-fuzz.ts'

export interface FuzzedObject {
  readonly name: string
  /** Exported functions that the decoder goes through. */
  readonly covers: readonly string[]
  readonly valid: readonly Uint8Array[]
  readonly decode: FuzzedDecoder
  /** False: some changed lengths are valid too. */
  readonly selfDelimiting?: boolean
}
