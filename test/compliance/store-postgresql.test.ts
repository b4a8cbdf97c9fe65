/** Holds the SQL store on a private PostgreSQL to the one suite of the port. */
import { postgresqlKind } from '../helpers/sql-kinds.ts'
import { sqlStoreSuite } from './sql-subject.ts'

sqlStoreSuite(postgresqlKind)
