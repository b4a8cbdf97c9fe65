import type { Result } from '../errors.ts'
import type { Random } from '../random.ts'
import type { OwnIdentity, OwnKemPrekey, OwnOneTimePrekey, OwnSignedPrekey } from './types.ts'

export declare function createSignedPrekey(input: { own: OwnIdentity, id: number, random: Random }): OwnSignedPrekey
/** `oneTime: false` makes the last-resort prekey. */
export declare function createKemPrekey(input: { own: OwnIdentity, id: number, oneTime: boolean, random: Random }): OwnKemPrekey
export declare function createOneTimePrekey(input: { id: number, random: Random }): OwnOneTimePrekey
