/** Holds the SQL store on a private MariaDB to the one suite of the port. */
import { mariadbKind } from '../helpers/sql-kinds.ts'
import { sqlStoreSuite } from './sql-subject.ts'

sqlStoreSuite(mariadbKind)
