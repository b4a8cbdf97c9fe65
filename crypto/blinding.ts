/** 32-byte keys; `factor` is 32 bytes of a hash that binds period and key. @throws BLINDING_KEY for a key not canonical, of small order or not torsion-free */
export declare function blindPublicKey(input: { publicKey: Uint8Array, factor: Uint8Array }): Uint8Array
export interface BlindedSigner {
  readonly publicKey: Uint8Array
  /** RFC 8032-valid under the blinded key. */
  sign(message: Uint8Array): Uint8Array
}
export declare function blindedSigner(input: { seed: Uint8Array, factor: Uint8Array }): BlindedSigner
