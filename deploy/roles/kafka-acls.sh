kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:reconciler_owner --operation Create --operation Describe --operation DescribeConfigs --topic minio-events
kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:reconciler_owner --operation Create --operation Describe --operation DescribeConfigs --topic minio-events.dead-letter
kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:reconciler_reader --operation Describe --operation DescribeConfigs --topic minio-events
kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:reconciler_reader --operation Describe --operation DescribeConfigs --topic minio-events.dead-letter
kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:reconciler_reader --operation Describe --group storage-reconciler
kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:reconciler_reader --operation Describe --group storage-reconciler-reads-beside
kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:reconciler_reader --operation Read --topic minio-events.dead-letter
kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:reconciler_consumer --operation Describe --operation DescribeConfigs --topic minio-events
kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:reconciler_consumer --operation Describe --operation DescribeConfigs --topic minio-events.dead-letter
kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:reconciler_consumer --operation Describe --group storage-reconciler
kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:reconciler_consumer --operation Describe --group storage-reconciler-reads-beside
kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:reconciler_consumer --operation Read --topic minio-events
kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:reconciler_consumer --operation Read --operation Write --topic minio-events.dead-letter
kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:reconciler_consumer --operation Read --group storage-reconciler
kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:minio --operation Describe --operation Write --topic minio-events
